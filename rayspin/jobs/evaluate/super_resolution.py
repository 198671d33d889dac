"""Compare the super-resolution network with interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rayspin.analysis.figures import draw_resolution
from rayspin.analysis.published import PublishedResolution, published_resolution
from rayspin.analysis.resolution import by_network, evaluate_resolution
from rayspin.arrays import channel_first, channel_last
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.job import SHOWN_FIELDS, Case, Evaluation, Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.tables import as_csv
from rayspin.models import FineNetConfig
from rayspin.reconstruction.interpolation import Upsample, baselines
from rayspin.rundir import Summary, write_text
from rayspin.training import SuperResolutionObjective
from rayspin.training.data import Batch

NETWORK = "network"
"""Name of the network among the methods."""


class EvaluateSr(Evaluation):
    """Comparison of the super-resolution network with interpolation (2023 paper, Tables 1 and 2, Figs. 2 and 3)."""

    kind: Literal["evaluate-sr"] = "evaluate-sr"

    def expects(self) -> type[FineNetConfig]:
        """Return the config class of super-resolution networks."""
        return FineNetConfig

    def check_network(self, network: FineNetConfig, trained_for: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Check that the lattice can be coarsened by the degradation that the network was trained with.

        Args:
            network: config of the network.
            trained_for: table of the objective that the network is trained with.
            shape: (rows, columns) of the lattice.

        Raises:
            InputError: the lattice cannot be coarsened, or the table is not an objective.
        """
        _objective(trained_for).check(network, shape)

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return MSE, PSNR and correlation of every method, raw and normalized, one row per sample."""
        fine_NYXC = case.read(first, count)
        coarse_NYXC = self._coarse(case, fine_NYXC, first)
        found = evaluate_resolution(_methods(case), fine_NYXC, coarse_NYXC, case.network.config.scale)
        figures = {
            f"{method}/{kind}_{metric}": values
            for method, resolution in found.items()
            for kind, likeness in vars(resolution).items()
            for metric, values in vars(likeness).items()
        }
        return [{name: float(values[index]) for name, values in figures.items()} for index in range(count)]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table of all methods with the published results, and a picture of the reconstructions."""
        scale, methods = case.network.config.scale, _methods(case)
        published = published_resolution(case.reader.hamiltonian, scale)
        table = [_figures(name, rows, published.get(name)) for name in methods]
        write_text(folder / "resolution.csv", as_csv(table))

        fine_NYXC = case.read(0, min(len(rows), SHOWN_FIELDS))
        coarse_NYXC = self._coarse(case, fine_NYXC, 0)
        drawn = {name: method(coarse_NYXC, scale) for name, method in methods.items()}
        pictures = {"coarse": coarse_NYXC, **drawn, "truth": fine_NYXC}
        shown = [{name: spins[index] for name, spins in pictures.items()} for index in range(len(coarse_NYXC))]
        draw_resolution(shown, folder / "resolution.png")
        figures = {row["method"]: _description(row) for row in table}
        return Summary(f"super-resolution x{scale}, {len(rows)} fields", figures, ("resolution.png",))

    def _coarse(self, case: Case, fine_NYXC: Spins, first: int) -> Spins:
        """Return the coarse spins as in the training: degraded, with noise, and with dropped pixels set to zero."""
        addresses = tuple((self.seed, first + index) for index in range(len(fine_NYXC)))
        batch = Batch(channel_first(torch.from_numpy(fine_NYXC)), addresses)
        task = _objective(case.trained_for).build(case.network.config, case.reader)
        coarse: Spins = channel_last(task.coarse(batch)[0]).contiguous().numpy()
        return coarse


def _objective(table: Mapping[str, Any]) -> SuperResolutionObjective:
    if not isinstance(table, Mapping) or not table:
        problem = "the file does not contain the training objective"
        raise InputError("weights", problem, "give a weights file that a training wrote")
    return build(SuperResolutionObjective, table, "weights: objective")


def _methods(case: Case) -> dict[str, Upsample]:
    degradation = _objective(case.trained_for).degradation
    return {**baselines(degradation), NETWORK: by_network(case.network)}


def _figures(method: str, rows: list[Row], published: PublishedResolution | None) -> dict[str, Any]:
    """Return the table row of a method.

    Args:
        method: name of the method.
        rows: results for all samples.
        published: published means, if there are any.

    Returns:
        Mean and standard deviation over the samples of each result, and the published means.
    """
    row: dict[str, Any] = {"method": method}
    for name in rows[0]:
        owner, _, figure = name.partition("/")
        if owner == method:
            values = np.array([each[name] for each in rows])
            row |= {f"{figure}_mean": values.mean(), f"{figure}_std": values.std()}
    for metric in ("mse", "psnr", "correlation"):
        row[f"published_{metric}"] = getattr(published, metric, "")
    return row


def _description(row: Mapping[str, Any]) -> str:
    text = (
        f"MSE {row['raw_mse_mean']:.3g} +- {row['raw_mse_std']:.1g}, Corr {row['raw_correlation_mean']:.4f}; "
        f"normalized {row['normalized_mse_mean']:.3g}, {row['normalized_correlation_mean']:.4f}"
    )
    if row["published_mse"] != "":
        text += f" (published {row['published_mse']:g}, {row['published_correlation']:g})"
    return text
