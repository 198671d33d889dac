"""Evaluate trained networks on fields they have not seen, and draw what they do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.analysis.baselines import baselines
from rayspin.analysis.estimation import evaluate_estimation
from rayspin.analysis.figures import draw_estimation, draw_recursion, draw_resolution
from rayspin.analysis.recursive import Recursion, external_field, recurse
from rayspin.analysis.resolution import Resolution, by_network, degrade, evaluate_resolution
from rayspin.cluster.dataset_facts import DatasetFacts
from rayspin.cluster.stage import Context, Plan, Stage
from rayspin.cluster.tables import as_csv
from rayspin.cluster.train import Training
from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.models import (
    Degradation,
    EffectiveFieldNet,
    EffectiveFieldNetConfig,
    SuperResolutionNet,
    SuperResolutionNetConfig,
    apply,
    load_weights,
    weights_info,
)
from rayspin.physics import Hamiltonian, effective_field, energy
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only
from rayspin.rundir import RunDir, Summary, write_text
from rayspin.storage import Catalog, Split
from rayspin.training import BEST

Spins = npt.NDArray[np.float32]
NetworkT = TypeVar("NetworkT", EffectiveFieldNet, SuperResolutionNet)

SHOWN_FIELDS = 2
"""Rows of the picture of a super-resolution."""

SHOWN_ITERATIONS = (0, 1, 3)
"""Steps of a recursive process that its picture shows, before the last."""


class Evaluation(Stage):
    """What all evaluations share: a network, and fields of one split."""

    dataset: str
    """Folder of a dataset; `@name` for the stage of that name in a pipeline."""
    weights: str
    """A weights file, or the folder of a training, whose best epoch is taken; `@name` as above."""
    split: Split = "test"
    samples: int | None = pydantic.Field(default=None, gt=0)
    """How many fields, from the split's first on; by default all."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root of the noise: sample i is disturbed with the stream (seed, i)."""

    @abstractmethod
    def expects(self) -> type[EffectiveFieldNetConfig] | type[SuperResolutionNetConfig]:
        """The kind of network that this evaluates."""

    @abstractmethod
    def evaluate(self, run: RunDir, network: Any, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Summary:
        """The work on `samples` fields of the split."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Dataset and weights are there, or earlier stages make them; they fit together."""
        run.check_same(self.identity(), self.may_change)
        facts = DatasetFacts.of(self.dataset, run, earlier)
        there = facts.counts[self.split]
        if there < (self.samples or 1):
            problem = f"{self.samples or 1} fields asked for, and the split {self.split!r} has {there}"
            raise InputError("samples", problem, "ask for fewer, take another split, or generate with larger [splits]")
        self._network(run, earlier).check_lattice(facts.shape)

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Seconds: not worth a calibration."""
        return Plan(self.kind, {"fields": f"{self.samples or 'all'} of the split {self.split!r}"}, 0.0)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Load the network and the fields, and evaluate."""
        network = load_weights(_weights_file(run.locate(self.weights)))
        reader = Catalog.open(run.locate(self.dataset)).reader(self.split)
        count = self.samples or len(reader)
        with context.progress.track(self.kind, count, "field") as track:
            summary = self.evaluate(run, network, reader.read(np.arange(count)), reader.hamiltonian)
            track.update(count)
        return summary

    def _network(self, run: RunDir, earlier: Mapping[str, Stage]) -> EffectiveFieldNetConfig | SuperResolutionNetConfig:
        """The network's config, from the stage that will train it or from the weights file."""
        if self.weights.startswith("@"):
            stage = earlier.get(self.weights[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"{self.weights!r} is no earlier stage that trains"
                raise InputError("weights", problem, suggestion(self.weights, makers))
            config = stage.network
        else:
            config = load_weights(_weights_file(run.locate(self.weights))).config
        if not isinstance(config, self.expects()):
            raise InputError("weights", f"{self.weights!r} is the other kind of network", f"give one for {self.kind}")
        return config


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

    def evaluate(self, run: RunDir, network: Any, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Summary:
        """Errors by component, energies, and one field denoised."""
        estimation = evaluate_estimation(network, spins_NYXC, hamiltonian)
        energies = zip(estimation.energy_exact, estimation.energy_estimated)
        table = [
            {"mse_x": x, "mse_y": y, "mse_z": z, "energy": exact, "energy_estimated": estimated}
            for (x, y, z), (exact, estimated) in zip(estimation.mse_NC, energies)
        ]
        write_text(run.path / "estimation.csv", as_csv(table))

        clean_YXC = spins_NYXC[0]
        recursion = recurse(
            network,
            noisy(clean_YXC, self.noise_amplitude, (self.seed, 0))[None],
            self.iterations,
            hamiltonian,
        )
        draw_estimation(
            clean_YXC,
            effective_field(clean_YXC, hamiltonian),
            apply(network, clean_YXC[None])[0],
            _steps(recursion, f"noise, alpha = {self.noise_amplitude:g}"),
            _energies(recursion, clean_YXC, hamiltonian),
            run.path / "estimation.png",
        )
        return Summary(
            "evaluation",
            {
                "fields": f"{len(spins_NYXC)} of the split {self.split!r}",
                "MSE": f"{estimation.mse.mean():.4g} +- {estimation.mse.std():.2g} J^2",
                "MSE of x, y, z": ", ".join(f"{value:.4g}" for value in estimation.mse_NC.mean(axis=0)) + " J^2",
                "energy agreement": f"{100 * estimation.energy_agreement.mean():.2f} %",
                "angle of F* to F": f"{np.degrees(estimation.angle.mean()):.2f} degrees",
                **_recursion_figures(recursion, clean_YXC, hamiltonian),
            },
            ("estimation.png",),
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

    def evaluate(self, run: RunDir, network: Any, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Summary:
        """Energies of every field at every iteration, and the first field's pictures."""
        started_NYXC = np.stack([self._damaged(spins_YXC, index) for index, spins_YXC in enumerate(spins_NYXC)])
        modify = external_field(self.field) if any(self.field) else None
        recursion = recurse(network, started_NYXC, self.iterations, hamiltonian, modify=modify)
        table = [{f"energy_{index}": e for index, e in enumerate(energies)} for energies in recursion.energies_IN]
        write_text(run.path / "energies.csv", as_csv(table))
        steps = [("sample", spins_NYXC[0]), *_steps(recursion, self.start)]
        draw_recursion(steps, _energies(recursion, spins_NYXC[0], hamiltonian), run.path / "recursion.png")
        return Summary(
            "recursive process",
            {"start": self.start, **_recursion_figures(recursion, spins_NYXC, hamiltonian)},
            ("recursion.png",),
        )

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

    def evaluate(self, run: RunDir, network: Any, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Summary:  # noqa: ARG002
        """MSE, PSNR and correlation of every method, raw and normalized."""
        scale = network.config.scale
        degradation = self._degradation(run)
        methods = {**baselines(degradation), "network": by_network(network)}
        rows = evaluate_resolution(methods, spins_NYXC, degradation, scale)
        table = [_figures(name, resolution) for name, resolution in rows.items()]
        write_text(run.path / "resolution.csv", as_csv(table))
        coarse_NYXC = degrade(spins_NYXC[:SHOWN_FIELDS], degradation, scale)
        drawn = {name: method(coarse_NYXC, scale) for name, method in methods.items()}
        pictures = {"coarse": coarse_NYXC, **drawn, "truth": spins_NYXC[:SHOWN_FIELDS]}
        shown = [{name: spins[index] for name, spins in pictures.items()} for index in range(len(coarse_NYXC))]
        draw_resolution(shown, run.path / "resolution.png")
        figures = {
            name: f"MSE {row.raw.mse.mean():.3g}, Corr {row.raw.correlation.mean():.4f}; "
            f"normalized {row.normalized.mse.mean():.3g}, {row.normalized.correlation.mean():.4f}"
            for name, row in rows.items()
        }
        return Summary(f"super-resolution x{scale}, {len(spins_NYXC)} fields", figures, ("resolution.png",))

    def _degradation(self, run: RunDir) -> Degradation:
        """The one that the network was trained with."""
        path = _weights_file(run.locate(self.weights))
        table = weights_info(path)["provenance"]["objective"]["degradation"]
        return build(Degradation, table, f"{path}: objective.degradation")


def _weights_file(path: Path) -> Path:
    return path / BEST if path.is_dir() else path


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


def _recursion_figures(recursion: Recursion, clean: Spins, hamiltonian: Hamiltonian) -> dict[str, str]:
    first, last = recursion.energies_IN[0].mean(), recursion.energies_IN[-1].mean()
    annealed = float(np.mean(energy(clean, hamiltonian)))
    iterations = len(recursion.energies_IN) - 1
    return {f"energy after {iterations} iterations": f"{first:.4f} to {last:.4f} J (annealed {annealed:.4f} J)"}


def _figures(method: str, resolution: Resolution) -> dict[str, Any]:
    """Mean and standard deviation of every figure of a method, as a row."""
    row: dict[str, Any] = {"method": method}
    for kind, likeness in vars(resolution).items():
        for metric, values in vars(likeness).items():
            row |= {f"{kind}_{metric}_mean": values.mean(), f"{kind}_{metric}_std": values.std()}
    return row
