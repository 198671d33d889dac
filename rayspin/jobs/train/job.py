"""Jobs of the kinds "train-fcn" and "train-sr": train a network with Ray Train."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pydantic
import torch

from rayspin.config import Config, build
from rayspin.errors import InputError, RunError
from rayspin.execution.session import Session, places_on
from rayspin.jobs.generate.facts import DatasetFacts, DatasetStage
from rayspin.jobs.microscope.job import MicroscopeImages
from rayspin.jobs.microscope.pictures import Pictures
from rayspin.jobs.stage import Context, Plan, Stage, same_place
from rayspin.jobs.stand_in import StandIn
from rayspin.jobs.train.further import FurtherDatasets, check_further
from rayspin.jobs.train.workers import HEARTBEAT, STOP, show_progress, train_on_workers
from rayspin.models import EffectiveFieldNetConfig, FieldNetworkConfig, FineNetworkConfig, weights_info
from rayspin.paths import command
from rayspin.physics import Hamiltonian
from rayspin.progress import polling
from rayspin.rundir import RunDir, Summary, Table
from rayspin.storage import Split
from rayspin.training import (
    BEST,
    MAY_CHANGE,
    FieldObjective,
    FitResult,
    Line,
    SampleSource,
    SuperResolutionObjective,
    TilesConfig,
    TrainingConfig,
    best_epoch,
    fit,
    read_metrics,
)


class TrainingResources(Config):
    """Resources of a training. They are not part of the job and may be changed when a training is resumed."""

    workers: int | None = pydantic.Field(default=None, gt=0)
    """Number of data-parallel workers. Default: as many as fit on the GPUs (or CPUs) and divide the batches evenly."""
    cpus_per_worker: int = pydantic.Field(default=1, gt=0)
    """Number of CPUs of each worker."""
    gpu: bool = False
    """Train on GPUs, one for each worker."""

    def world_size(self, nodes: Sequence[Mapping[str, float]], shares: Callable[[int], bool]) -> int:
        """Return the number of workers that can run on the nodes.

        Args:
            nodes: resources of each node, named as in Ray ("CPU", "GPU").
            shares: returns whether the samples can be divided evenly over a number of workers; true for 1.

        Raises:
            RunError: the workers do not fit on the nodes; Ray would wait for resources indefinitely.
        """
        fitting = sum(places_on(node, self.cpus_per_worker, int(self.gpu)) for node in nodes)
        wanted = self.workers or 1
        if fitting < wanted:
            available = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:4])
            more = f" and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
            needs = f"{wanted} workers of {self.cpus_per_worker} CPUs" + (" and a GPU each" if self.gpu else "")
            problem = f"{needs} don't fit on nodes of {available}{more}"
            raise RunError("resources", problem, "reduce workers or cpus_per_worker, or use larger nodes")
        return self.workers or next(workers for workers in range(fitting, 0, -1) if shares(workers))


class Training(DatasetStage):
    """Base class of the trainings of both networks."""

    may_change: ClassVar[frozenset[str]] = MAY_CHANGE

    further_datasets: FurtherDatasets = pydantic.Field(default={}, exclude_if=lambda datasets: not datasets)
    """Share of each epoch's training samples that is drawn at random from each of these datasets instead of `dataset`,
    by folder or `@name`: { "runs/fields" = 0.25 }. Their Hamiltonians may differ from that of `dataset` only in the
    external field, also among the samples of one dataset. The network learns the field of the Hamiltonian of
    `dataset`. Networks for fine spins whose loss uses no Hamiltonian accept data of any Hamiltonian. Validation uses
    `dataset` only."""
    training: TrainingConfig = TrainingConfig()
    """Epochs, batches, learning rate and random seed."""
    resources: TrainingResources = TrainingResources()
    """Workers, CPUs and GPUs."""

    network: FieldNetworkConfig | FineNetworkConfig
    """Architecture of the network."""
    objective: FieldObjective | SuperResolutionObjective
    """Inputs, loss and metrics of the training."""

    @abstractmethod
    def figures(self, best: Line) -> dict[str, str]:
        """Return the metrics of the best epoch as rows of the summary."""

    def fit(self, dataset: Path, folder: Path, **placement: Any) -> FitResult:
        """Train in this process, alone or as one of several ranks.

        Args:
            dataset: folder of the dataset.
            folder: folder of the training.
            placement: keyword arguments of `rayspin.training.fit`.
        """
        train, validation = self.sources(dataset)
        further = [
            (self.open_dataset(Path(name)).reader("train"), share) for name, share in self.further_datasets.items()
        ]
        return fit(self.objective, self.network, self.training, train, validation, folder, further=further, **placement)

    def sources(self, dataset: Path) -> tuple[SampleSource, SampleSource]:
        """Return the training and the validation samples of the dataset in a folder.

        Raises:
            InputError: the dataset can't be used.
        """
        catalog = self.open_dataset(dataset)
        return catalog.reader("train"), catalog.reader("validation")

    def located(self, run: RunDir, start: Path = Path()) -> Self:
        """Return this job with absolute paths of its further datasets, for `fit` in another process.

        Args:
            run: folder of the run, from which `@name` is resolved.
            start: working directory that relative paths refer to.
        """
        paths = {str((start / run.locate(name)).resolve()): share for name, share in self.further_datasets.items()}
        return self.with_updates(further_datasets=paths)

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that the dataset exists or is made by an earlier stage, fits the network, and fills a batch."""
        run.check_same(self.identity_in(run), self.may_change)
        if previous := run.asked():
            self.training.check_follows(build(TrainingConfig, previous["training"], str(run.path)), str(run.path))
        self.check_data(self.facts(run, earlier), run, earlier)

    def means_same(self, key: str, other: str, run: RunDir) -> bool:
        """Also return true for a moved dataset: its digest must equal the one in the weights of the best epoch."""
        return super().means_same(key, other, run) or self._trained_on(self.dataset, run)

    def identity_in(self, run: RunDir) -> Table:
        """The identity, where further datasets are also spelled as in the folder if they are the same data there."""
        own, there = super().identity_in(run), run.asked() or {}
        spelled = there.get("further_datasets", {})
        if list(spelled.values()) == list(self.further_datasets.values()) and all(
            same_place(name, other, run) or self._trained_on(name, run, further=index)
            for index, (name, other) in enumerate(zip(self.further_datasets, spelled))
        ):
            own |= {"further_datasets": spelled} if spelled else {}
        return own

    def _trained_on(self, reference: str, run: RunDir, *, further: int | None = None) -> bool:
        """Return whether the weights of the best epoch were trained on a dataset, wherever it is now.

        Args:
            reference: reference to the dataset.
            run: folder of the run.
            further: index among the further datasets; default: the main dataset.
        """
        with suppress(InputError, LookupError, TypeError):
            data = weights_info(run.path / BEST)["provenance"]["data"]
            trained_on = (data if further is None else data["further"][further])["digest"]
            return bool(self.open_dataset(run.locate(reference)).reader().digest == trained_on)
        return False

    def check_data(self, facts: DatasetFacts, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Raise InputError unless the datasets fit the network and each other, and the main one fills a batch."""
        self.objective.check(self.network, facts.shape)  # type: ignore[arg-type]
        workers = self.resources.workers or 1
        self.training.check_samples(facts.counts["train"], facts.counts["validation"], workers)
        any_hamiltonian = not self.objective.uses_hamiltonian and self.training.augmentation != "symmetries"
        check_further(
            self.further_datasets, facts, run, earlier, incomplete=self.incomplete, any_hamiltonian=any_hamiltonian
        )

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining epochs and their cost, measured by a few training steps on stand-ins of the samples."""
        done = len(read_metrics(run.path))
        left = max(0, self.training.epochs - done)
        figures = {
            "epochs": f"{self.training.epochs}, {done} done",
            "network": self.kind.removeprefix("train-"),
        }
        seconds = left * self._seconds_an_epoch(self.facts(run, earlier)) if left else 0.0
        # Any number of workers that divides the batches can be chosen.
        return Plan(self.kind, figures, seconds, pieces=self.resources.workers or self.training.batch_size)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Train with Ray Train from the last checkpoint to the last epoch."""
        dataset, folder = run.locate(self.dataset).resolve(), run.path.resolve()
        train, validation = self.sources(dataset)
        samples = self._samples_an_epoch(len(train))
        total = samples * self.training.epochs
        before = samples * len(read_metrics(folder))

        def shares(workers: int) -> bool:
            return self.training.splits_over(workers) and workers <= len(validation)

        def world_size() -> int:
            return self.resources.world_size(context.session.nodes(), shares)

        with context.progress.track(self.kind, total, "sample", before) as track:

            def look() -> None:
                show_progress(folder, track, samples)
                if context.stop.requested:
                    (folder / STOP).touch()

            # Remove the stop file of a killed driver.
            (folder / STOP).unlink(missing_ok=True)
            try:
                with context.stop.draining(), polling(look):
                    train_on_workers(self.located(run), dataset, folder, world_size, context.session, folder / STOP)
            finally:
                for name in (STOP, HEARTBEAT):
                    (folder / name).unlink(missing_ok=True)
        history = read_metrics(folder)
        if not self.training.ended([line["validation_loss"] for line in history]):
            done = f"{len(history)} of {self.training.epochs} epochs done"
            raise context.stop.incomplete(str(run.path), done)
        return self.summary(run)

    def fit_on_workers(self, dataset: Path, folder: Path, until: int, stop: Path) -> None:
        """Train with Ray Train inside a Ray task whose caller has checked that the workers fit.

        Args:
            dataset: folder of the dataset.
            folder: folder of the training.
            until: total number of epochs after which the training stops.
            stop: path of a file; once it exists, the training stops after the current epoch.

        Raises:
            RayspinError: the job failed, or workers were lost more than `WORKER_RESTARTS` times.
        """
        train_on_workers(self, dataset, folder, lambda: self.resources.workers or 1, Session(), stop, until)

    def summary(self, run: RunDir) -> Summary:
        """Draw the loss curves of a finished training and return its summary."""
        from rayspin.analysis.figures import draw_curves  # importing matplotlib takes a second, and workers do not draw

        history = read_metrics(run.path)
        curves = {name: [line[name] for line in history] for name in ("training_loss", "validation_loss")}
        draw_curves(curves, "epoch", "loss", run.path / "loss.png", log=True, title=f"loss of {self.kind}")
        best = best_epoch(history)
        seconds = sum(line["seconds"] for line in history)
        figures = {
            "epochs": f"{len(history)}, the best was {best['epoch']:.0f}",
            "time": f"{seconds:.0f} s, {history[-1]['samples_per_second']:.3g} samples/s",
            "training loss": f"{best['training_loss']:.4g}",
            "validation loss": f"{best['validation_loss']:.4g}",
            **self.figures(best),
        }
        return Summary(self.kind, figures, ("loss.png",), (command("show", run.path / BEST, "--out", "network.png"),))

    def _samples_an_epoch(self, samples: int) -> int:
        return samples // self.training.batch_size * self.training.batch_size

    def _seconds_an_epoch(self, facts: DatasetFacts) -> float:
        hamiltonian = next(iter(facts.hamiltonians), Hamiltonian())
        source = StandIn(min(self.training.batch_size, 16), facts.shape, hamiltonian)
        timed = self.training.with_updates(epochs=2, batch_size=len(source), accumulation=1)
        with one_thread(), tempfile.TemporaryDirectory() as folder:
            result = fit(self.objective, self.network, timed, source, source, Path(folder))
        return self._samples_an_epoch(facts.counts["train"]) / result.history[-1]["samples_per_second"]


class TrainFcn(Training):
    """Training of the effective-field network (2021 paper)."""

    kind: Literal["train-fcn"] = "train-fcn"
    network: FieldNetworkConfig = EffectiveFieldNetConfig()
    """Architecture of the network."""
    objective: FieldObjective = FieldObjective()
    """Inputs and loss of the training."""

    def figures(self, best: Line) -> dict[str, str]:
        """Return the MSE of each component, the energy ratio and the correlation of Fig. 2b of the 2021 paper."""
        components = [best[f"validation_mse_{name}"] for name in "xyz"]
        return {
            "MSE": f"{sum(components) / 3:.4g} J^2, {best['relative_mse']:.3g} of the mean square of F - c S",
            "MSE of x, y, z": ", ".join(f"{component:.4g}" for component in components) + " J^2",
            "energy of F* over F": f"{best['energy_ratio']:.6f}",
            "correlation of F* - c S with F - c S": f"{best['deviation_correlation']:.4f}",
        }


class TrainSr(Training):
    """Training of a network that reconstructs fine spins from coarse ones (2023 paper)."""

    kind: Literal["train-sr"] = "train-sr"
    network: FineNetworkConfig
    """Architecture of the network, and its scale."""
    objective: SuperResolutionObjective = SuperResolutionObjective()
    """Inputs and loss of the training."""
    tiles: TilesConfig | None = pydantic.Field(default=None, exclude_if=lambda tiles: tiles is None)
    """Train on tiles of pictures of a microscope alone (2023 paper, Fig. 7): `dataset` is then the folder of a job of
    kind "microscope-images", or `@name`. If the pictures show S_z alone, the network learns S_z alone."""

    @pydantic.model_validator(mode="after")
    def _pictures_suffice(self) -> Self:
        if self.tiles is None:
            return self
        self.objective.check_tiles()
        if self.further_datasets:
            raise InputError("further_datasets", "can't be mixed with tiles", "remove one of them")
        if self.training.augmentation != "none":
            problem = "moves samples periodically, and tiles aren't periodic"
            raise InputError("training.augmentation", problem, "remove it")
        return self

    def facts(self, run: RunDir, earlier: Mapping[str, Stage]) -> DatasetFacts:
        """Return the facts of the dataset, or of tiles of pictures, whose Hamiltonian isn't known."""
        if self.tiles is None:
            return super().facts(run, earlier)
        images = MicroscopeImages.of(self.dataset, "dataset", run, earlier)
        if images.scale != self.network.scale:
            problem = f"the network has scale {self.network.scale}, and the pictures have {images.scale}"
            raise InputError("network.scale", problem, "give both the same scale")
        side = self.tiles.size * self.network.scale
        counts: dict[Split, int] = {"train": self.tiles.count, "validation": self.tiles.validation, "test": 0}
        return DatasetFacts((side, side), counts, frozenset())

    def one_component(self, run: RunDir, earlier: Mapping[str, Stage]) -> bool:
        """Return whether the network learns from tiles of pictures of S_z alone."""
        return self.tiles is not None and MicroscopeImages.of(self.dataset, "dataset", run, earlier).components == 1

    def sources(self, dataset: Path) -> tuple[SampleSource, SampleSource]:
        """Return the samples of the dataset in a folder, or tiles of the pictures there."""
        if self.tiles is None:
            return super().sources(dataset)
        pictures = Pictures.load(dataset)
        return self.tiles.cut(
            pictures.coarse_NYXC, pictures.trainable(), pictures.scale, self.training.seed, pictures.digest
        )

    def figures(self, best: Line) -> dict[str, str]:
        """Return the MSE and the correlation with the true fine spins, which the loss does not use."""
        if self.tiles is not None:
            return {"tiles": f"{self.tiles.count} of {self.tiles.size} x {self.tiles.size} pixels"}
        return {
            "MSE against fine spins": f"{best['fine_mse']:.4g}",
            "correlation with fine spins": f"{best['fine_correlation']:.4f}",
        }


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread, as the worker of one core does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
