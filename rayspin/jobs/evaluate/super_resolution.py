"""Compare networks, methods of reconstruction and interpolations (2023 paper, Tables 1 and 2, Figs. 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch

from rayspin.analysis.figures import draw_resolution
from rayspin.analysis.frames import Frames, write_frames
from rayspin.analysis.published import PublishedResolution, published_resolution
from rayspin.analysis.resolution import BASELINES, evaluate_resolution, resolution_rows, statistics_row
from rayspin.arrays import channel_first, channel_last
from rayspin.errors import InputError
from rayspin.jobs.evaluate.choices import Choices, ScaledChoice
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.reconstructions import ONLY, Loaded, OneDataset
from rayspin.jobs.tables import as_csv, where
from rayspin.models import SuperResolutionNetConfig
from rayspin.models.fine import Scale
from rayspin.rundir import Summary, write_text
from rayspin.training import SuperResolutionObjective
from rayspin.training.data import Batch

NETWORK = "network"
"""Name of the network in the published tables."""


class EvaluateSr(OneDataset):
    """Comparison of networks, methods of reconstruction and interpolations (2023 paper, Tables 1 and 2)."""

    kind: Literal["evaluate-sr"] = "evaluate-sr"
    methods: Choices = tuple(ScaledChoice(method=name) for name in BASELINES)
    """Methods of reconstruction: names, or tables such as { method = "projections", options = { iterations = 400 } };
    default: all interpolations."""
    scales: tuple[Scale, ...] = ()
    """Scales to evaluate; default: those of the networks."""
    noise_amplitude: Annotated[float, pydantic.Field(ge=0)] = 0.0
    """Amplitude alpha of the noise in the coarse spins, as in the objective of a training."""
    dropped: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """Fraction of coarse pixels that are set to zero at random, as in the objective of a training."""

    def scales_in(self, networks: Mapping[str, Mapping[int, Any]]) -> tuple[int, ...]:
        """Return the scales to evaluate: those of the job, or of the networks."""
        found: tuple[int, ...] = self.scales
        found = found or tuple(sorted({scale for each in networks.values() for scale in each}))
        if not found:
            raise InputError("scales", "neither scales nor networks are given", "give scales = [4, 8]")
        return found

    def measure(self, case: Loaded, first: int, count: int) -> list[Row]:
        """Return the metrics of every method, one row for each scale, method and sample."""
        fine_NYXC, rows = case.read(ONLY, first, count), []
        for scale in self.scales_in(case.networks):
            found = evaluate_resolution(
                self.methods_at(case, ONLY, scale),
                fine_NYXC,
                self._coarse(case, fine_NYXC, scale, first),
                scale,
                hamiltonian=case.readers[ONLY].hamiltonian,
                degradation=self.degradation,
            )
            rows += resolution_rows(found, {"scale": scale}, first)
        return rows

    def conclude(self, case: Loaded, rows: list[Row], folder: Path) -> Summary:
        """Write the metrics of all samples, their statistics with the published results, and a picture."""
        write_text(folder / "samples.csv", as_csv(rows))
        scales = self.scales_in(case.networks)
        table = [
            statistics_row(where(rows, scale=scale, method=method), ("scale", "method"))
            | _published_columns(self._published(case, scale, method))
            for scale in scales
            for method in self.methods_at(case, ONLY, scale)
        ]
        write_text(folder / "resolution.csv", as_csv(table))
        fine_NYXC = self.first_share(case, ONLY)
        pictures = {scale: self._pictures(case, fine_NYXC, scale) for scale in scales}
        draw_resolution(list(pictures.values()), folder / "resolution.png")
        for scale, panels in pictures.items():
            still = {title: spins_YXC[None] for title, spins_YXC in panels.items()}
            write_frames(Frames(f"x{scale}", "", ("",), still), folder, f"x{scale:02}")
        fields = f"{len({row['sample'] for row in rows})} of the split {self.split!r}"
        if self.noise_amplitude or self.dropped:
            fields += f", noise {self.noise_amplitude:g}, {self.dropped:.0%} of the pixels dropped"
        figures = {"fields": fields} | {f"x{row['scale']} {row['method']}": _description(row) for row in table}
        return Summary("super-resolution", figures, ("resolution.png",))

    def _published(self, case: Loaded, scale: int, method: str) -> PublishedResolution | None:
        """Return the published result of a method; every network is compared with that of the published network."""
        published = published_resolution(case.readers[ONLY].hamiltonian, scale)
        return published.get(NETWORK if method in case.networks else method)

    def _pictures(self, case: Loaded, fine_NYXC: Spins, scale: int) -> dict[str, Spins]:
        coarse_NYXC = self._coarse(case, fine_NYXC, scale, 0)
        methods = self.methods_at(case, ONLY, scale)
        drawn = {f"x{scale} {name}": method(coarse_NYXC, scale)[0] for name, method in methods.items()}
        return {"truth": fine_NYXC[0], f"x{scale} coarse input": coarse_NYXC[0], **drawn}

    def _coarse(self, case: Loaded, fine_NYXC: Spins, scale: int, first: int) -> Spins:
        """Return the coarse spins as in a training: degraded, with noise, and with dropped pixels set to zero."""
        addresses = tuple((self.seed, first + index) for index in range(len(fine_NYXC)))
        batch = Batch(channel_first(torch.from_numpy(fine_NYXC)), addresses)
        objective = SuperResolutionObjective(
            degradation=self.degradation, noise_amplitude=self.noise_amplitude, dropped=self.dropped
        )
        network = SuperResolutionNetConfig.model_validate({"scale": scale})
        coarse: Spins = channel_last(objective.build(network, case.readers[ONLY]).coarse(batch)[0]).contiguous().numpy()
        return coarse


def _published_columns(published: PublishedResolution | None) -> Row:
    return {f"published_{metric}": getattr(published, metric, "") for metric in ("mse", "psnr", "correlation")}


def _description(row: Row) -> str:
    text = (
        f"MSE {row['normalized_mse_mean']:.3g} +- {row['normalized_mse_std']:.1g}, "
        f"worst {row['normalized_mse_worst']:.2g}, Corr {row['normalized_correlation_mean']:.5f}, "
        f"walls {row['wall_position_mean']:.2g} sites; as given: MSE {row['raw_mse_mean']:.3g}, "
        f"Corr {row['raw_correlation_mean']:.4f}"
    )
    if row["published_mse"] != "":
        text += f" (published {row['published_mse']:g}, {row['published_correlation']:g})"
    return text
