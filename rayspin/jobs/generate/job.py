"""Jobs of kind "generate": Ray workers write the shards of a dataset, and the driver process keeps the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from rayspin.config import Config, build
from rayspin.errors import Incomplete, InputError
from rayspin.execution.dispatcher import dispatch
from rayspin.execution.session import Session
from rayspin.jobs.generate.making import MadeShard, ShardMaker, bytes_per_sample, seconds_per_sample, warm_up
from rayspin.jobs.generate.recipe import Recipe, Shard
from rayspin.jobs.generate.recorder import Recorder, settle
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.rundir import RunDir, Summary, Table, sweep_temporaries
from rayspin.storage import Catalog

_EXTENSION = 1000
"""Number of additional samples for which a plan states the cost."""
_FEW_CORES = 4
_WARM_UP_S = 120.0


class GenerateResources(Config):
    """Resources for the generation of a dataset. They do not affect the bytes of the dataset."""

    gpu: bool = False
    """Anneal on GPUs, one shard at a time on each GPU. A GPU anneals about a thousand samples simultaneously, so choose
    `shard_samples` accordingly."""


class Generate(Recipe, Stage):
    """A job that generates a dataset of annealed spin configurations."""

    may_change: ClassVar[frozenset[str]] = frozenset({"samples"})
    sharded: ClassVar[bool] = True

    kind: Literal["generate"] = "generate"
    resources: GenerateResources = GenerateResources()
    """Use of GPUs."""

    def identity(self) -> Table:
        """The job without its resources, and without optional keys that have their default values."""
        unset = self.unset()
        return {key: value for key, value in super().identity().items() if key not in unset}

    @classmethod
    def of(cls, folder: str | Path) -> Generate:
        """Return the job of the dataset in `folder`.

        Raises:
            InputError: the folder has no dataset.
        """
        run = RunDir.at(Path(folder))
        table = run.asked()
        if table is None or table.get("kind") != "generate":
            raise InputError(str(folder), "no dataset", "give the folder that a generate job wrote")
        return build(cls, table, str(run.job_file))

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:  # noqa: ARG002
        """Check that the tolerances are reachable and that the folder is empty or holds a part of this dataset."""
        self.check_reachable()
        run.check_same(self.identity(), self.may_change)
        done = Catalog.read(run.path).samples_done
        if done > self.samples:
            raise InputError(
                f"{run.path}: samples",
                f"the dataset has {done} samples and the job asks for {self.samples}",
                "give at least as many samples, or another folder with --out",
            )

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Return the remaining shards and their size and cost; the cost is measured by annealing some samples."""
        shards = Catalog.read(run.path).missing(self.samples, self.shard_samples)
        left = sum(count for _, count in shards)
        seconds, size = seconds_per_sample(self), bytes_per_sample(self)
        rows, columns = self.size
        more = _EXTENSION * seconds / 3600, _EXTENSION * size / 1e6
        figures = {
            "samples": f"{self.samples} of {rows} x {columns}, {self.samples - left} done",
            "shards to write": f"{len(shards)} of up to {self.shard_samples} samples",
            "seconds per sample": f"{seconds:.3g} on one core, measured now",
            f"each additional {_EXTENSION} samples": f"{more[0]:.3g} core-hours, {more[1]:.1f} MB: --set samples=...",
        }
        return Plan("generate", figures, left * seconds, left * size, pieces=len(shards))

    def run(self, run: RunDir, context: Context) -> Summary:
        """Anneal the missing samples, shard by shard, on all cores (or GPUs) of the session."""
        recorder = Recorder.resume(run.path, self)
        shards = recorder.missing
        if shards:
            recorder.tell_of_others(context.progress)
            with context.progress.track("generate", self.samples, "sample", recorder.samples_done) as track:

                def finished(shard: Shard, made: MadeShard) -> None:
                    recorder.record(shard, made)
                    track.update(recorder.samples_done, energy=made.mean_energy)

                warm_up_nodes(context.session, self)
                maker, gpu = self.maker(run.path), self.resources.gpu
                unfinished = dispatch(context.session, context.stop, ShardMaker, maker, shards, finished, gpu=gpu)
            done = f"{recorder.samples_done} of {self.samples} samples done"
            settle(run.path, self, unfinished, context.stop, done)
        # Remove the temporary files of lost workers.
        sweep_temporaries(run.path)
        return recorder.summary()

    def done(self, run: RunDir) -> Summary | None:
        """The summary, if the job has finished in this folder and all of its shards still exist; else None."""
        summary = super().done(run)
        whole = summary is None or not Catalog.read(run.path).missing(self.samples, self.shard_samples)
        return summary if whole else None

    def maker(self, folder: Path) -> tuple[Recipe, Path, bool]:
        """Return the arguments of `ShardMaker` for this job in a folder."""
        return self, folder.resolve(), self.resources.gpu


def warm_up_nodes(session: Session, recipe: Recipe) -> None:
    """Compile the kernels in one process of each node, so that its other workers load them from the cache.

    Nodes with few cores are skipped, because nothing would be saved. Errors are ignored; they recur in the workers.
    """
    ray = session.ray()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > _FEW_CORES]
    at = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    tasks = [
        ray.remote(warm_up)
        .options(num_cpus=1, max_retries=0, scheduling_strategy=at(node["NodeID"], soft=True))
        .remote(recipe)
        for node in nodes
    ]
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=_WARM_UP_S)


def make_here(job: Generate, folder: Path, stop: Callable[[], bool] = lambda: False) -> Summary:
    """Generate the missing samples of a dataset in this process.

    Args:
        job: job of the dataset.
        folder: folder of the dataset; it exists and is locked by this process.
        stop: called before each shard; returns whether to stop.

    Raises:
        Incomplete: `stop` returned true.
    """
    recorder = Recorder.resume(folder, job)
    maker = ShardMaker(*job.maker(folder))
    for shard in recorder.missing:
        if stop():
            done = f"stopped with {recorder.samples_done} of {job.samples} samples done"
            raise Incomplete(str(folder), done, "run the same command again to resume")
        recorder.record(shard, maker.work(shard))
    return recorder.summary(card=False)
