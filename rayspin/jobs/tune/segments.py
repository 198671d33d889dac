"""Run one segment of a trial in the current process: train some epochs, or generate and measure a dataset."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rayspin.claims import HeldError
from rayspin.errors import Incomplete, MachineError, RayspinError
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.jobs.train.job import Training
from rayspin.jobs.train.workers import STOP
from rayspin.jobs.tune.outcomes import Failed, Figures, Finished, Outcome, Refused, Stopped
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.trials import Job
from rayspin.physics.observables import magnetization, topological_charge, wall_length
from rayspin.rundir import RunDir, write_text, writing
from rayspin.storage import Catalog
from rayspin.training import Line, best_epoch, read_metrics

ERROR = "error.txt"
"""Name of the file with the traceback of a failed trial."""
NO_RESULTS = frozenset({"epoch", "seconds", "samples_per_second", "learning_rate"})
"""Entries of the metrics of an epoch that are not results: they depend on the job or on the machine only."""

OBSERVABLES = (
    *("energy", "topological_charge", "topological_charge_magnitude"),
    *("magnetization", "magnetization_x", "magnetization_y", "magnetization_z", "wall_length"),
)
"""Observables that are measured on a dataset."""

_PROBE_BYTES = 2**20
_LOCK_S = 20.0
_POLL_S = 2.0


@dataclass(frozen=True)
class SegmentRunner:
    """Runs the segments of a sweep.

    Attributes:
        run: folder of the sweep, with absolute paths.
        start: directory that relative paths of datasets refer to; an actor has another working directory.
        threads: number of threads of a trial that runs in one process.
        device: device of a trial that runs in one process.
        memory_bytes: additional memory that the process of a trial may allocate; None: unlimited.
    """

    run: RunDir
    start: Path
    threads: int = 1
    device: str = "cpu"
    memory_bytes: int | None = None

    def execute(self, segment: Segment) -> Outcome:
        """Run a segment and return its outcome. Exceptions are converted to outcomes."""
        start = time.perf_counter()
        folder = segment.trial.folder(self.run)
        job = segment.trial.job
        try:
            with _limited(self.memory_bytes), _claimed(folder, job, _LOCK_S):
                figures, epochs = (self._generate if isinstance(job, Generate) else self._train)(segment, folder)
        except Incomplete:
            return Stopped()
        except Exception as error:
            refusal = error if isinstance(error, MachineError) else _refusal(self.run.path)
            if refusal is not None:
                return Refused(*refusal.args)
            _keep_traceback(folder)
            hopeless = isinstance(error, RayspinError)
            return Failed(f"{type(error).__name__}: {error}", hopeless, _since(start), socket.gethostname())
        return Finished(figures, epochs, _since(start), socket.gethostname())

    def _train(self, segment: Segment, folder: RunDir) -> tuple[Figures, int]:
        job, dataset = segment.trial.job, segment.trial.dataset(self.run)
        assert isinstance(job, Training)
        assert dataset is not None
        if segment.trial.data is not None:
            self._make_dataset(segment.trial.data, dataset)
        located = job.located(self.run, self.start)
        if (job.resources.workers or 1) > 1:
            located.fit_on_workers(self.start / dataset, folder.path, segment.until, self.run.path / STOP)
        else:
            torch.set_num_threads(self.threads)
            located.fit(
                self.start / dataset, folder.path, device=self.device, until=segment.until, on_epoch=self._heed_stop
            )
        history = read_metrics(folder.path)[: segment.until]
        if len(history) < segment.until and not job.training.ended([line["validation_loss"] for line in history]):
            raise _stopped(f"after epoch {len(history)}")
        if len(history) < segment.until or segment.until == segment.trial.budget:
            folder.finish(job.summary(folder))
        return figures_of(history), len(history)

    def _generate(self, segment: Segment, folder: RunDir) -> tuple[Figures, int]:
        job = segment.trial.job
        assert isinstance(job, Generate)
        folder.finish(make_here(job, folder.path, self._stop.exists))
        return observed(Catalog.open(folder.path)), segment.until

    def _make_dataset(self, data: Generate, path: Path) -> None:
        """Generate the dataset of a trial, or wait while another trial generates it."""
        folder = RunDir.at(path)
        while data.done(folder) is None:
            if self._stop.exists():
                raise _stopped("before its dataset was made")
            with suppress(HeldError), _claimed(folder, data, _POLL_S):
                folder.finish(make_here(data, path, self._stop.exists))

    @property
    def _stop(self) -> Path:
        return self.run.path / STOP

    def _heed_stop(self, line: Line) -> None:
        if self._stop.exists():
            raise _stopped(f"after epoch {line['epoch']:.0f}")


def _keep_traceback(folder: RunDir) -> None:
    """Write the traceback of the current exception to the folder of the trial."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.path / ERROR, traceback.format_exc())


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def _stopped(when: str) -> Incomplete:
    return Incomplete("trial", f"stopped {when}", "run the same command again to resume")


def reported(job: Job) -> tuple[str, ...]:
    """Return the names of the metrics that a trial of this job reports."""
    if isinstance(job, Generate):
        return tuple(f"{name}{end}" for name in OBSERVABLES for end in ("", "_error"))
    return "best_epoch", "training_loss", *job.objective.measured


def figures_of(history: list[Line]) -> Figures:
    """Return the metrics of the best epoch of a training, and its number as `best_epoch`."""
    best = best_epoch(history)
    return {"best_epoch": int(best["epoch"]), **{name: value for name, value in best.items() if name not in NO_RESULTS}}


def observed(catalog: Catalog) -> Figures:
    """Measure the observables of a dataset: means over the samples, and their standard errors as `..._error`.

    Observables: energy per site, J; magnetization (x, y, z) and its magnitude; topological charge and its absolute
    value; length of walls per site (see `rayspin.physics.observables`).
    """
    reader = catalog.reader()
    edges = [catalog.points[number].hamiltonian.boundary for number in catalog.point_numbers]
    parts = [reader.read([sample])[0] for sample in range(len(reader))]
    charge = np.array([topological_charge(spins, edge) for spins, edge in zip(parts, edges)])
    walls = np.array([wall_length(spins, edge) for spins, edge in zip(parts, edges)])
    mean_spin = np.stack([magnetization(spins) for spins in parts])
    length = np.linalg.norm(mean_spin, axis=-1)
    columns = catalog.column("energy"), charge, np.abs(charge), length, *mean_spin.T, walls
    found: Figures = {}
    for name, values in zip(OBSERVABLES, columns, strict=True):
        found[name] = float(values.mean())
        # The standard error of a single sample is undefined; it is reported as 0.
        found[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return found


@contextmanager
def _claimed(folder: RunDir, job: Job, patience_s: float) -> Iterator[None]:
    """Lock the folder of a job for the block.

    Wait for up to `patience_s` seconds for another process: a worker continues for some seconds after its driver was
    killed.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            with folder.claimed(job.identity(), job.may_change):
                yield
                return
        except HeldError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@contextmanager
def _limited(memory_bytes: int | None) -> Iterator[None]:
    """Limit the additional memory of this process in the block: larger allocations fail with an exception."""
    if memory_bytes is None:
        yield
        return
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
    used = int(line.split()[1]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _refusal(folder: Path) -> MachineError | None:
    """Return the error of a test write to the folder, or None if the write succeeds.

    If it fails, for example because the disk is full, this is the cause of any other failure.
    """
    try:
        with writing(folder), tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except MachineError as error:
        return error
    return None
