"""Evaluate trained networks on fields they have not seen, and draw what they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
import torch

from rayspin.analysis.baselines import Upsample, baselines
from rayspin.analysis.estimation import evaluate_estimation, uniform_field
from rayspin.analysis.figures import draw_estimation, draw_fields, draw_recursion, draw_resolution
from rayspin.analysis.published import (
    FIELD_ENERGY_AGREEMENT,
    FIELD_MSE,
    PublishedResolution,
    published_resolution,
)
from rayspin.analysis.recursive import Recursion, external_field, recurse
from rayspin.analysis.resolution import by_network, evaluate_resolution
from rayspin.arrays import channel_first, channel_last
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.job import Case, Evaluation, Row, Spins
from rayspin.jobs.tables import as_csv
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig, apply
from rayspin.physics import LABYRINTH, Hamiltonian, effective_field, energy
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only
from rayspin.rundir import Summary, write_text
from rayspin.training import SuperResolutionObjective
from rayspin.training.data import Batch

NETWORK = "network"
"""What the network is called among the methods."""

SHOWN_FIELDS = 2
"""Fields in the pictures of an evaluation."""

SHOWN_ITERATIONS = (0, 1, 3)
"""Steps of a recursive process that its picture shows, before the last."""


class EvaluateFcn(Evaluation):
    """The effective-field network on held-out fields, and its recursive process from noise (2021, Figs. 2b, 3d)."""

    kind: Literal["evaluate-fcn"] = "evaluate-fcn"
    iterations: int = pydantic.Field(default=10, gt=0)
    """Of the recursive process."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """alpha of the noise that the recursive process starts from: S' = (S + alpha R) / |S + alpha R|."""

    def expects(self) -> type[EffectiveFieldNetConfig]:
        """An effective-field network."""
        return EffectiveFieldNetConfig

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Errors by component, and energies."""
        estimation = evaluate_estimation(case.network, case.read(first, count), case.reader.hamiltonian)
        return estimation.rows()

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """The table, some fields as the 2021 paper draws them, and one denoised."""
        write_text(folder / "estimation.csv", as_csv(rows))
        hamiltonian = case.reader.hamiltonian
        shown_NYXC = case.read(0, min(len(rows), SHOWN_FIELDS))
        truth_NYXC = effective_field(shown_NYXC, hamiltonian)
        estimate_NYXC = apply(case.network, shown_NYXC)
        draw_fields(truth_NYXC, estimate_NYXC, uniform_field(shown_NYXC, hamiltonian), folder / "fields.png")

        clean_YXC = shown_NYXC[0]
        noisy_NYXC = noisy(clean_YXC, self.noise_amplitude, (self.seed, 0))[None]
        recursion = recurse(case.network, noisy_NYXC, self.iterations, hamiltonian)
        draw_estimation(
            clean_YXC,
            truth_NYXC[0],
            estimate_NYXC[0],
            _steps(recursion, f"noise, alpha = {self.noise_amplitude:g}"),
            _energies(recursion, clean_YXC, hamiltonian),
            folder / "estimation.png",
        )
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        mse, agreement = columns["mse"], 100 * columns["energy_agreement"]
        published = hamiltonian == LABYRINTH
        return Summary(
            "evaluation",
            {
                "fields": f"{len(rows)} of the split {self.split!r}",
                "MSE": f"{mse.mean():.4g} +- {mse.std():.2g} J^2" + (f" ({FIELD_MSE})" if published else ""),
                "MSE of x, y, z": ", ".join(f"{columns[f'mse_{name}'].mean():.4g}" for name in "xyz") + " J^2",
                "energy agreement": f"{agreement.mean():.2f} +- {agreement.std():.2g} %"
                + (f" ({FIELD_ENERGY_AGREEMENT})" if published else ""),
                "angle of F* to F": f"{np.degrees(columns['angle'].mean()):.2f} degrees",
                **_recursion_figures(recursion.energies_IN.mean(axis=1), float(energy(clean_YXC, hamiltonian))),
            },
            ("estimation.png", "fields.png"),
            ("more data and epochs: rayspin run jobs/train_fcn.toml",),
        )


class Recursive(Evaluation):
    """The recursive process of the 2021 paper on damaged fields (Figs. 3, 4a, 5, 6)."""

    kind: Literal["recursive"] = "recursive"
    start: Literal["sample", "noise", "defect-rows", "defect-square", "out-of-plane", "random"] = "noise"
    """What the process starts from: a field of the dataset, as it is, damaged, or replaced by random spins."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """alpha, for start = "noise"."""
    defect_width: int = pydantic.Field(default=32, gt=0)
    """Rows, or side of the square, for the two defects."""
    iterations: int = pydantic.Field(default=10, gt=0)
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """External field that is added to the estimate in every iteration, J."""

    def expects(self) -> type[EffectiveFieldNetConfig]:
        """An effective-field network."""
        return EffectiveFieldNetConfig

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Energy per site at every iteration, and of the field itself."""
        clean_NYXC = case.read(first, count)
        recursion = self._recursion(case, clean_NYXC, first)
        annealed = np.asarray(energy(clean_NYXC, case.reader.hamiltonian))
        names = [f"energy_{index}" for index in range(len(recursion.energies_IN))]
        return [
            dict(zip(names, energies.tolist())) | {"annealed": float(own)}
            for energies, own in zip(recursion.energies_IN.T, annealed)
        ]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Energies of every field at every iteration, and the first field's pictures."""
        iterations = range(self.iterations + 1)
        table = [{f"energy_{n}": row[f"energy_{index}"] for n, row in enumerate(rows)} for index in iterations]
        write_text(folder / "energies.csv", as_csv(table))
        clean_NYXC = case.read(0, 1)
        recursion = self._recursion(case, clean_NYXC, 0)
        steps = [("sample", clean_NYXC[0]), *_steps(recursion, self.start)]
        energies = _energies(recursion, clean_NYXC[0], case.reader.hamiltonian)
        draw_recursion(steps, energies, folder / "recursion.png")
        means = np.array([np.mean(list(row.values())) for row in table])
        annealed = float(np.mean([row["annealed"] for row in rows]))
        return Summary(
            "recursive process",
            {"start": self.start, **_recursion_figures(means, annealed)},
            ("recursion.png",),
        )

    def _recursion(self, case: Case, clean_NYXC: Spins, first: int) -> Recursion:
        started_NYXC = np.stack([self._damaged(spins, first + index) for index, spins in enumerate(clean_NYXC)])
        modify = external_field(self.field) if any(self.field) else None
        return recurse(case.network, started_NYXC, self.iterations, case.reader.hamiltonian, modify=modify)

    def _damaged(self, spins_YXC: Spins, index: int) -> Spins:
        seed = (self.seed, index)
        match self.start:
            case "noise":
                return noisy(spins_YXC, self.noise_amplitude, seed)
            case "defect-rows":
                return defect_rows(spins_YXC, self.defect_width, seed)
            case "defect-square":
                return defect_square(spins_YXC, self.defect_width)
            case "out-of-plane":
                return out_of_plane_only(spins_YXC)
            case "random":
                return defect_rows(spins_YXC, len(spins_YXC), seed)
            case "sample":
                return spins_YXC


class EvaluateSr(Evaluation):
    """The super-resolution network beside interpolation (2023, Tables 1 and 2, Figs. 2 and 3)."""

    kind: Literal["evaluate-sr"] = "evaluate-sr"

    def expects(self) -> type[SuperResolutionNetConfig]:
        """A super-resolution network."""
        return SuperResolutionNetConfig

    def check_network(
        self, network: SuperResolutionNetConfig, trained_for: Mapping[str, Any], shape: tuple[int, int]
    ) -> None:
        """The lattice has a coarse version, by the degradation that the network was trained with."""
        _objective(trained_for).check(network, shape)

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """MSE, PSNR and correlation of every method, raw and normalized."""
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
        """The table of all methods with the published figures beside ours, and fields as every method draws them."""
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
        figures = {row["method"]: _told(row) for row in table}
        return Summary(f"super-resolution x{scale}, {len(rows)} fields", figures, ("resolution.png",))

    def _coarse(self, case: Case, fine_NYXC: Spins, first: int) -> Spins:
        """What the network was trained to see of these fields: degraded, with its noise and without lost pixels."""
        addresses = tuple((self.seed, first + index) for index in range(len(fine_NYXC)))
        batch = Batch(channel_first(torch.from_numpy(fine_NYXC)), addresses)
        task = _objective(case.trained_for).build(case.network.config, case.reader)
        coarse: Spins = channel_last(task.coarse(batch)[0]).contiguous().numpy()
        return coarse


def _objective(table: Mapping[str, Any]) -> SuperResolutionObjective:
    if not isinstance(table, Mapping) or not table:
        raise InputError("weights", "don't say what they were trained for", "take a file that a training wrote")
    return build(SuperResolutionObjective, table, "weights: objective")


def _methods(case: Case) -> dict[str, Upsample]:
    degradation = _objective(case.trained_for).degradation
    return {**baselines(degradation), NETWORK: by_network(case.network)}


def _steps(recursion: Recursion, start: str) -> list[tuple[str, Spins]]:
    """The first field of a batch at some iterations, with titles."""
    last = len(recursion.spins_INYXC) - 1
    shown = [*(index for index in SHOWN_ITERATIONS if index < last), last]
    titles = [f"after {index}" if index else start for index in shown]
    return [(title, recursion.spins_INYXC[index, 0]) for title, index in zip(titles, shown)]


def _energies(recursion: Recursion, clean_YXC: Spins, hamiltonian: Hamiltonian) -> dict[str, list[float]]:
    iterations = len(recursion.energies_IN)
    return {
        "recursive process": recursion.energies_IN[:, 0].tolist(),
        "annealed sample": [float(energy(clean_YXC, hamiltonian))] * iterations,
    }


def _recursion_figures(energies: npt.NDArray[np.float64], annealed: float) -> dict[str, str]:
    """Of the mean energy per site, J, at each iteration, beside that of the annealed fields."""
    told = f"{energies[0]:.4f} to {energies[-1]:.4f} J (annealed {annealed:.4f} J)"
    return {f"energy after {len(energies) - 1} iterations": told}


def _figures(method: str, rows: list[Row], published: PublishedResolution | None) -> dict[str, Any]:
    """A method's row: mean and standard deviation over the fields of each figure, and the published means."""
    row: dict[str, Any] = {"method": method}
    for name in rows[0]:
        owner, _, figure = name.partition("/")
        if owner == method:
            values = np.array([each[name] for each in rows])
            row |= {f"{figure}_mean": values.mean(), f"{figure}_std": values.std()}
    for metric in ("mse", "psnr", "correlation"):
        row[f"published_{metric}"] = getattr(published, metric, "")
    return row


def _told(row: Mapping[str, Any]) -> str:
    told = (
        f"MSE {row['raw_mse_mean']:.3g} +- {row['raw_mse_std']:.1g}, Corr {row['raw_correlation_mean']:.4f}; "
        f"normalized {row['normalized_mse_mean']:.3g}, {row['normalized_correlation_mean']:.4f}"
    )
    if row["published_mse"] != "":
        told += f" (published {row['published_mse']:g}, {row['published_correlation']:g})"
    return told
