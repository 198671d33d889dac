"""The work of one leg of a trial, in whatever process: train some epochs, or make and measure a dataset."""

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
from typing import Any

import numpy as np
import torch

from rayspin.claims import HeldError
from rayspin.errors import Incomplete, MachineError, RayspinError
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.jobs.train.job import STOP, Training
from rayspin.jobs.tune.course import Leg
from rayspin.jobs.tune.ledger import Figures
from rayspin.jobs.tune.trials import Job
from rayspin.physics.observables import magnetization, topological_charge, wall_length
from rayspin.rundir import RunDir, write_text, writing
from rayspin.storage import Catalog
from rayspin.training import Line, best_epoch, read_metrics

ERROR = "error.txt"
NO_RESULTS = frozenset({"epoch", "seconds", "samples_per_second", "learning_rate"})
"""What is told of an epoch and follows from the job, or from the machine."""

OBSERVABLES = (
    *("energy", "topological_charge", "topological_charge_magnitude"),
    *("magnetization", "magnetization_x", "magnetization_y", "magnetization_z", "wall_length"),
)
"""What is measured on a dataset."""

_PROBE_BYTES = 2**20
_LOCK_S = 20.0
_POLL_S = 2.0


@dataclass(frozen=True)
class Work:
    """What the legs of a sweep have in common.

    Attributes:
        run: the sweep's folder, with absolute paths.
        start: where paths of datasets start from: an actor has a working directory of its own.
        threads: CPUs of a trial that runs in one process.
        device: where such a trial trains.
        memory_bytes: what the process of a trial may take more than it has at the start; None: all there is.
    """

    run: RunDir
    start: Path
    threads: int = 1
    device: str = "cpu"
    memory_bytes: int | None = None

    def do(self, leg: Leg) -> dict[str, Any]:
        """Run a leg and say how it ended, in plain values.

        Returns:
            figures, epochs, seconds, host; or error, hopeless (another try would fail likewise), seconds, host; or
            refused (where, problem, remedy): the machine's failure, and no trial is charged; or stopped: on request.
        """
        start = time.perf_counter()
        folder = leg.trial.folder(self.run)
        job = leg.trial.job
        try:
            with _limited(self.memory_bytes), _claimed(folder, job, _LOCK_S):
                result = self._generate(leg, folder) if isinstance(job, Generate) else self._train(leg, folder)
        except Incomplete:
            return {"stopped": True}
        except Exception as error:
            refusal = error if isinstance(error, MachineError) else _refusal(self.run.path)
            if refusal is not None:
                return {"refused": refusal.args}
            result = self._failed(error, folder)
        return {**result, "seconds": round(time.perf_counter() - start, 3), "host": socket.gethostname()}

    def _train(self, leg: Leg, folder: RunDir) -> dict[str, Any]:
        job, dataset = leg.trial.job, leg.trial.dataset(self.run)
        assert isinstance(job, Training)
        assert dataset is not None
        if leg.trial.data is not None:
            self._make_dataset(leg.trial.data, dataset)
        if (job.resources.workers or 1) > 1:
            job.fit_on_workers(self.start / dataset, folder.path, leg.until, self.run.path / STOP)
        else:
            torch.set_num_threads(self.threads)
            job.fit(self.start / dataset, folder.path, device=self.device, until=leg.until, on_epoch=self._heed_stop)
        history = read_metrics(folder.path)[: leg.until]
        if len(history) < leg.until and not job.training.ended([line["validation_loss"] for line in history]):
            raise _stopped(f"after epoch {len(history)}")
        if len(history) < leg.until or leg.until == leg.trial.budget:
            folder.finish(job.summary(folder))
        return {"figures": figures(history), "epochs": len(history)}

    def _generate(self, leg: Leg, folder: RunDir) -> dict[str, Any]:
        job = leg.trial.job
        assert isinstance(job, Generate)
        folder.finish(make_here(job, folder.path, self._stop.exists))
        return {"figures": observed(Catalog.open(folder.path)), "epochs": leg.until}

    def _make_dataset(self, data: Generate, path: Path) -> None:
        """Make the dataset of a trial that nobody knew of before, or wait for another trial that does."""
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

    def _failed(self, error: Exception, folder: RunDir) -> dict[str, Any]:
        """Keep the traceback beside the trial's job; what a job itself is to blame for comes again."""
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.path / ERROR, traceback.format_exc())
        return {"error": f"{type(error).__name__}: {error}", "hopeless": isinstance(error, RayspinError)}


def _stopped(when: str) -> Incomplete:
    return Incomplete("trial", f"stopped {when}", "the same command goes on")


def reported(job: Job) -> tuple[str, ...]:
    """The names of all figures that a trial of such a job ends with."""
    if isinstance(job, Generate):
        return tuple(f"{name}{end}" for name in OBSERVABLES for end in ("", "_error"))
    return "best_epoch", "training_loss", *job.objective.measured


def figures(history: list[Line]) -> Figures:
    """The figures of a curve's best epoch, as a training judges itself; its number as `best_epoch`."""
    best = best_epoch(history)
    return {"best_epoch": int(best["epoch"]), **{name: value for name, value in best.items() if name not in NO_RESULTS}}


def observed(catalog: Catalog) -> Figures:
    """What is measured on a dataset: means over its samples, and their standard errors as `..._error`.

    Energy per site, J; magnetization, (x, y, z) and its length; topological charge, and the sum of its absolute values
    over the samples; length of walls per site (see `rayspin.physics.observables`).
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
        # Of a single sample nothing can be said.
        found[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return found


@contextmanager
def _claimed(folder: RunDir, job: Job, patience_s: float) -> Iterator[None]:
    """The folder of a job, claimed. A worker whose driver was killed writes on for some seconds: it is waited for."""
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
    """The process may take so much more memory in this block: what asks for more gets an exception, not the machine."""
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
    """What the system has against writing a little there: whatever failed on a full disk, that is the cause."""
    try:
        with writing(folder), tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except MachineError as error:
        return error
    return None
