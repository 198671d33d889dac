"""Data-parallel workers of Ray Train that call `rayspin.training.fit`.

The checkpoint and the metrics, from which a training resumes, are written by `fit` to the folder of the run, which must
be visible on all nodes. The state of Ray Train is deleted after each run, so that there is only one record.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rayspin.errors import RayspinError, RunError
from rayspin.execution.session import Session
from rayspin.jobs.registry import build_stage
from rayspin.progress import Track
from rayspin.rundir import write_text
from rayspin.training import read_metrics

if TYPE_CHECKING:
    from rayspin.jobs.train.job import Training

WORKER_RESTARTS = 3
"""Number of times that a training, or a segment of a trial, is restarted after the loss of workers before it fails."""

STOP = ".stop"
"""Name of the file in the folder of a run that makes its trainings stop after the current epoch."""

HEARTBEAT = ".progress"
"""Name of the file in the folder of a run with the progress of the epoch, which rank 0 writes."""

_SCRATCH = ".ray"
_HEARTBEAT_S = 1.0


def train_on_workers(
    job: Training,
    dataset: Path,
    folder: Path,
    world_size: Callable[[], int],
    session: Session,
    stop: Path,
    until: int | None = None,
) -> None:
    """Run `_train_worker` on all workers, in one gloo or NCCL process group.

    If a worker or a node is lost, all workers are restarted from the last checkpoint; their number is determined anew.
    The retries of Ray Train are not used, because they would also repeat errors of the job.

    Args:
        job: training.
        dataset: folder of the dataset.
        folder: folder of the training.
        world_size: returns the number of workers that can run at present.
        session: Ray session.
        stop: path of a file; once it exists, the training stops after the current epoch.
        until: total number of epochs; default: that of the job.

    Raises:
        RayspinError: the job failed, or workers were lost more than `WORKER_RESTARTS` times.
    """
    session.ray()
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    class Trainer(TorchTrainer):
        """Does not install a SIGINT handler: `StopRequest` handles Ctrl-C."""

        def _register_sigint_handler(self, controller: object) -> None:
            pass

    scratch = folder / _SCRATCH
    loop = {
        "job": job.to_table(),
        "until": until,
        **{name: str(path) for name, path in (("dataset", dataset), ("folder", folder), ("stop", stop))},
    }
    each = {"CPU": job.resources.cpus_per_worker, **({"GPU": 1} if job.resources.gpu else {})}
    for restarts_left in reversed(range(WORKER_RESTARTS + 1)):
        # Remove the state of a killed driver or of the previous attempt.
        shutil.rmtree(scratch, ignore_errors=True)
        scaling = ScalingConfig(num_workers=world_size(), use_gpu=job.resources.gpu, resources_per_worker=each)
        trainer = Trainer(
            _train_worker,
            train_loop_config=loop,
            scaling_config=scaling,
            run_config=RunConfig(name="train", storage_path=str(scratch)),
        )
        try:
            trainer.fit()
            return
        except TrainingFailedError as error:
            if restarts_left == 0 or not _is_loss(error):
                raise _own(error) or _unknown(error, folder) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _train_worker(config: dict[str, Any]) -> None:
    """Train as one data-parallel worker in a process of Ray Train."""
    from ray.train import get_context
    from ray.train.torch import get_device

    context = get_context()
    job: Any = build_stage(config["job"], "job")
    folder = Path(config["folder"])
    try:
        job.fit(
            Path(config["dataset"]),
            folder,
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            device=get_device(),
            until=config["until"],
            stop=Path(config["stop"]).exists,
            **({"on_batch": _Heartbeat(folder / HEARTBEAT)} if context.get_world_rank() == 0 else {}),
        )
    except Exception as error:
        # Pickling drops the traceback, and Ray Train shortens its own copy.
        error.add_note(f"worker {context.get_world_rank()}: {traceback.format_exc()}")
        raise


class _Heartbeat:
    """Writes the progress of the epoch to a file for the driver, at most once per second."""

    def __init__(self, path: Path) -> None:
        self._path, self._next = path, 0.0

    def __call__(self, epoch: int, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _HEARTBEAT_S
            self._path.write_text(f"{epoch} {done / total}")


def show_progress(folder: Path, track: Track, samples: int) -> None:
    """Show the progress of a training, read from its files.

    Args:
        folder: folder of the training.
        track: where the progress is shown.
        samples: number of samples of an epoch.
    """
    history = read_metrics(folder)
    done = float(len(history))
    try:
        epoch, part = (folder / HEARTBEAT).read_text().split()
        done = max(done, int(epoch) - 1 + float(part))
    except (FileNotFoundError, ValueError):
        # The file does not exist yet or is being written.
        pass
    last = history[-1] if history else {}
    metrics = {name: last[name] for name in ("epoch", "training_loss", "validation_loss") if name in last}
    track.update(round(done * samples), **metrics)


def _own(error: BaseException) -> RayspinError | None:
    """Return the RayspinError among the errors of the workers, or None."""
    return next((cause for cause in _causes(error) if isinstance(cause, RayspinError)), None)


def _is_loss(error: BaseException) -> bool:
    """Return whether a worker or a node was lost.

    Ray reports a lost worker with an exception of its own; the other ranks raise RuntimeError in their next collective
    operation.
    """
    raised = [cause for cause in _causes(error) if not type(cause).__module__.startswith("ray.")]
    return all(isinstance(cause, RuntimeError) and not isinstance(cause, torch.OutOfMemoryError) for cause in raised)


def _causes(error: BaseException) -> list[BaseException]:
    return [getattr(inner, "cause", inner) for inner in getattr(error, "worker_failures", {}).values()]


def _unknown(error: BaseException, folder: Path) -> RunError:
    """Write the tracebacks of all ranks to `error.txt` and return an error that names the cause."""
    # Ranks that lost their peer raise RuntimeError, so other exceptions are listed first: they are the cause.
    causes = sorted(_causes(error), key=lambda cause: isinstance(cause, RuntimeError))
    traces = [note for cause in causes for note in getattr(cause, "__notes__", [])] or [str(error)]
    write_text(folder / "error.txt", "\n".join(traces))
    last = traces[0].strip().splitlines()[-1]
    remedy = f"see {folder / 'error.txt'}; run the same command again to resume"
    return RunError(str(folder), f"training failed ({last})", remedy)
