"""The work of one leg of a trial, in whatever process: train some epochs, or make and measure a dataset."""

from __future__ import annotations

import resource
import shutil
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rayspin.claims import HeldError
from rayspin.cluster.generate import Generate, make_here
from rayspin.cluster.sweep.course import Leg
from rayspin.cluster.sweep.ledger import Figures
from rayspin.cluster.train import STOP, Training, read_metrics
from rayspin.errors import Incomplete, RayspinError
from rayspin.physics.observables import magnetization, topological_charge, wall_length
from rayspin.rundir import RunDir, write_text
from rayspin.storage import Catalog
from rayspin.training import Line, best_epoch

ERROR = "error.txt"
NO_RESULTS = frozenset({"epoch", "seconds", "samples_per_second", "learning_rate"})
"""What is told of an epoch and follows from the job, or from the machine."""

_SPARE_BYTES = 2**20
_LOCK_S = 20.0


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
            full: the file system is; or stopped: on request.
        """
        start = time.perf_counter()
        folder = leg.trial.folder(self.run)
        try:
            with _limited(self.memory_bytes), _claimed(folder, leg):
                result = (
                    self._generate(leg, folder) if isinstance(leg.trial.job, Generate) else self._train(leg, folder)
                )
        except Incomplete:
            return {"stopped": True}
        except Exception as error:
            if _is_full(self.run.path):
                return {"full": f"{type(error).__name__}: {error}"}
            result = self._failed(error, folder)
        return {**result, "seconds": round(time.perf_counter() - start, 3), "host": socket.gethostname()}

    def _train(self, leg: Leg, folder: RunDir) -> dict[str, Any]:
        job, dataset = leg.trial.job, leg.trial.dataset(self.run)
        assert isinstance(job, Training)
        assert dataset is not None
        if (job.resources.workers or 1) > 1:
            job.fit_on_workers(self.start / dataset, folder.path, leg.until)
        else:
            torch.set_num_threads(self.threads)
            job.fit(self.start / dataset, folder.path, device=self.device, until=leg.until, on_epoch=self._heed_stop)
        history = read_metrics(folder.path)[: leg.until]
        if len(history) < leg.until or leg.until == leg.trial.budget:
            folder.finish(job.summary(folder))
        return {"figures": figures(history), "epochs": len(history)}

    def _generate(self, leg: Leg, folder: RunDir) -> dict[str, Any]:
        job = leg.trial.job
        assert isinstance(job, Generate)
        folder.finish(make_here(job, folder.path))
        return {"figures": observed(Catalog.open(folder.path)), "epochs": leg.until}

    def _heed_stop(self, line: Line) -> None:
        if (self.run.path / STOP).exists():
            raise Incomplete("trial", f"stopped after epoch {line['epoch']:.0f}", "the same command goes on")

    def _failed(self, error: Exception, folder: RunDir) -> dict[str, Any]:
        """Keep the traceback beside the trial's job; what a job itself is to blame for comes again."""
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.path / ERROR, traceback.format_exc())
        return {"error": f"{type(error).__name__}: {error}", "hopeless": isinstance(error, RayspinError)}


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
    batches = [reader.read(part) for part in np.array_split(np.arange(len(reader)), max(1, len(reader) // 64))]
    charge = np.concatenate([topological_charge(spins) for spins in batches])
    mean_spin = np.concatenate([magnetization(spins) for spins in batches])
    columns = {
        "energy": catalog.column("energy"),
        "topological_charge": charge,
        "topological_charge_magnitude": np.abs(charge),
        **{f"magnetization_{name}": mean_spin[:, index] for index, name in enumerate("xyz")},
        "magnetization": np.linalg.norm(mean_spin, axis=-1),
        "wall_length": np.concatenate([wall_length(spins) for spins in batches]),
    }
    found: Figures = {}
    for name, values in columns.items():
        found[name] = float(values.mean())
        # Of a single sample nothing can be said.
        found[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return found


@contextmanager
def _claimed(folder: RunDir, leg: Leg) -> Iterator[None]:
    """The trial's folder, claimed. A worker whose driver was killed writes on for some seconds: it is waited for."""
    end = time.monotonic() + _LOCK_S
    job = leg.trial.job
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


def _is_full(folder: Path) -> bool:
    """Whether there is no room left: whatever failed, that is the cause."""
    return shutil.disk_usage(folder).free < _SPARE_BYTES
