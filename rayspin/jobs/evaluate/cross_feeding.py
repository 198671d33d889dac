"""Apply networks to textures that they were not trained on (2023 paper, Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from rayspin.analysis.figures import Distribution, draw_distributions, draw_resolution
from rayspin.analysis.resolution import evaluate_resolution, resolution_rows, statistics_row
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.reconstructions import Loaded, SuperResolutionEvaluation
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.tables import as_csv, where
from rayspin.models.fine import Scale
from rayspin.physics import Hamiltonian
from rayspin.rundir import Summary, write_text

LABELS = ("dataset", "scale", "method")


class CrossFeeding(SuperResolutionEvaluation):
    """Every network and methods without training, applied to every dataset (2023 paper, Fig. 4)."""

    kind: Literal["cross-feeding"] = "cross-feeding"
    datasets: dict[str, str] = pydantic.Field(min_length=2)
    """Folders of the datasets, or `@name`, by their names in tables. The n-th samples of all are evaluated together."""
    scales: tuple[Scale, ...] = pydantic.Field(default=(4, 8), min_length=1)
    """Scales to evaluate."""

    def data(self) -> Mapping[str, str]:
        """Return the references to the datasets by name."""
        return self.datasets

    def scales_in(self, networks: Mapping[str, Mapping[int, Any]]) -> tuple[int, ...]:  # noqa: ARG002
        """Return the scales to evaluate."""
        return self.scales

    def own_hamiltonians(self, facts: Mapping[str, DatasetFacts]) -> list[Hamiltonian]:  # noqa: ARG002
        """Return no Hamiltonian: networks are applied to data that they were not trained for."""
        return []

    def measure(self, case: Loaded, first: int, count: int) -> list[Row]:
        """Return the metrics of every method, one row for each dataset, scale, method and sample."""
        rows: list[Row] = []
        for name, reader in case.readers.items():
            fine_NYXC = case.read(name, first, count)
            for scale in self.scales:
                found = evaluate_resolution(
                    self.methods_at(case, name, scale),
                    fine_NYXC,
                    self.degradation.apply(fine_NYXC, scale),
                    scale,
                    hamiltonian=reader.hamiltonian,
                    degradation=self.degradation,
                )
                rows += resolution_rows(found, {"dataset": name, "scale": scale}, first)
        return rows

    def conclude(self, case: Loaded, rows: list[Row], folder: Path) -> Summary:
        """Write the metrics of all samples, their statistics, the distributions, and pictures of the first samples."""
        write_text(folder / "samples.csv", as_csv(rows))
        groups = {
            (name, scale, method): where(rows, dataset=name, scale=scale, method=method)
            for scale in self.scales
            for name in case.readers
            for method in self.methods_at(case, name, scale)
        }
        table = [statistics_row(group, LABELS) for group in groups.values()]
        write_text(folder / "cross_feeding.csv", as_csv(table))
        lines = [
            [
                Distribution(
                    {
                        f"{method} on {name}": [row[column] for row in group]
                        for (name, at, method), group in groups.items()
                        if at == scale
                    },
                    f"{label}, x{scale}",
                    log=column.endswith("mse"),
                )
                for column, label in (
                    ("normalized_mse", "MSE"),
                    ("normalized_psnr", "PSNR (dB)"),
                    ("normalized_correlation", "Corr"),
                )
            ]
            for scale in self.scales
        ]
        draw_distributions(lines, folder / "distributions.png")
        shown = [self._pictures(case, name, scale) for scale in self.scales for name in case.readers]
        draw_resolution(shown, folder / "cross_feeding.png")
        figures = {"fields": f"{len({row['sample'] for row in rows})} of the split {self.split!r} of each dataset"}
        figures |= {f"x{row['scale']} {row['method']} on {row['dataset']}": _description(row) for row in table}
        return Summary("cross-feeding", figures, ("distributions.png", "cross_feeding.png"))

    def _pictures(self, case: Loaded, name: str, scale: int) -> dict[str, Spins]:
        fine_NYXC = self.first_share(case, name)
        coarse_NYXC = self.degradation.apply(fine_NYXC, scale)
        methods = self.methods_at(case, name, scale)
        drawn = {method: apply(coarse_NYXC, scale)[0] for method, apply in methods.items()}
        return {f"{name}, truth": fine_NYXC[0], f"x{scale} coarse input": coarse_NYXC[0], **drawn}


def _description(row: Row) -> str:
    return (
        f"MSE {row['normalized_mse_mean']:.3g} +- {row['normalized_mse_std']:.1g}, "
        f"PSNR {row['normalized_psnr_mean']:.2f} dB, Corr {row['normalized_correlation_mean']:.4f}"
    )
