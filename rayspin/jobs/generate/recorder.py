"""The record of a generation: the ledger, shards that a killed run left, failed shards, and the card at the end."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from rayspin.errors import RunError
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import Unfinished
from rayspin.jobs.generate.card import CARD, write_card
from rayspin.jobs.generate.making import MadeShard
from rayspin.jobs.generate.recipe import Recipe, Shard
from rayspin.paths import command
from rayspin.progress import Progress, counted
from rayspin.rundir import Summary, write_text
from rayspin.storage import Catalog, LedgerWriter, ShardRecord, ledger, shard_name


class Recorder:
    """Keeps the list of missing shards of a dataset and records the shards that workers make.

    Args:
        folder: the dataset folder.
        recipe: the recipe of the dataset.
        catalog: the shards that are done.
        missing: the missing shards.
        writer: the writer of this process's ledger.

    Attributes:
        missing: the shards that were missing at the start.
        samples_done: number of samples in the finished shards.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, catalog: Catalog, missing: list[Shard], writer: LedgerWriter
    ) -> None:
        self._folder, self._recipe, self._writer = folder, recipe, writer
        self.missing = missing
        self.samples_done = catalog.samples_done
        self._attributes = attributes = recipe.shard_attributes()
        self._made_with = f"{attributes['source']}, format {attributes['format']}: {attributes['versions']}"
        self._failed: set[str] = set()

    @classmethod
    def resume(
        cls, folder: Path, recipe: Recipe, mine: Callable[[Shard], bool] | None = None, to: str = ledger.LEDGER
    ) -> Recorder:
        """Return the recorder of a run that continues from the files in its folder.

        Shards that a killed run finished and did not record are recorded. If no other process uses the folder, the
        ledgers of array tasks are merged.

        Args:
            folder: the dataset folder, claimed by this process.
            recipe: the recipe of the dataset.
            mine: whether this process makes a shard; if omitted, it makes all, and no other process uses the folder.
            to: file name of the ledger that this process writes.

        Raises:
            InputError: a ledger is not a regular file.
            MachineError: the system refuses to write.
        """
        if mine is None:
            ledger.merge(folder)
        catalog = Catalog.read(folder)
        missing = [shard for shard in catalog.missing(recipe.samples, recipe.shard_samples) if not mine or mine(shard)]
        recorder = cls(folder, recipe, catalog, missing, LedgerWriter(folder, to))
        recorder._look_around(catalog)
        return recorder

    def _look_around(self, catalog: Catalog) -> None:
        """Record the missing shards that are in place, and find the files of those that failed."""
        in_place = {path.name for path in self._folder.glob("*-*.*")}
        self._failed = {name for name in in_place if fnmatch(name, FAILURES)}
        missing, self.missing = self.missing, []
        for shard in missing:
            orphan = catalog.orphan(*shard, self._attributes) if shard_name(shard[0]) in in_place else None
            if orphan is None:
                self.missing.append(shard)
            else:
                self._record(orphan, note="adopted")
                self.samples_done += orphan.count

    def tell_of_others(self, progress: Progress) -> None:
        """Report if existing shards were made with other package versions, whose values may differ in the last bits."""
        others = ledger.contents(self._folder).made_with - {self._made_with}
        if others:
            made = "; ".join(sorted(others))
            progress.say(f"{self._folder}: has shards made with {made}; new ones are made with {self._made_with}")

    def record(self, shard: Shard, made: MadeShard, **facts: str) -> None:
        """Record a shard that a worker has written.

        Args:
            shard: (first sample, count).
            made: result of the worker.
            facts: further fields of the ledger line.
        """
        self._record(made.record, host=made.host, seconds=made.seconds, **facts)
        self.samples_done += shard[1]
        if failure_file(shard[0]) in self._failed:
            (self._folder / failure_file(shard[0])).unlink(missing_ok=True)

    def _record(self, record: ShardRecord, **facts: str | float) -> None:
        self._writer.record(record, made_with=self._made_with, **facts)

    def summary(self, *, card: bool = True) -> Summary:
        """The summary of the whole dataset.

        Args:
            card: also write the dataset's card, which takes a second or two.
        """
        pictures = write_card(self._folder) if card else ()
        catalog = Catalog.read(self._folder)
        energies = catalog.column("energy")
        return Summary(
            "dataset",
            {
                "samples": f"{catalog.samples_done} of {self._recipe.size[0]} x {self._recipe.size[1]}",
                "shards": f"{len(catalog.records)}, {catalog.bytes / 1e6:.1f} MB",
                "energy per site": f"{energies.mean():.5f} +- {energies.std():.5f} J",
            },
            pictures=pictures,
            hints=(command("verify", self._folder), *([f"see {self._folder / CARD}"] if card else [])),
        )


FAILURES = "failed-*.txt"
"""Pattern of the files with the tracebacks of failed shards."""


def failure_file(first_sample: int) -> str:
    """Name of the file with the traceback of a failed shard."""
    return f"failed-{first_sample:08d}.txt"


def settle(folder: Path, job: Recipe, unfinished: Unfinished[Shard], stop: StopRequest, done: str) -> None:
    """Write the traceback of each failed shard to a file, and raise unless all shards were made.

    Args:
        folder: the dataset folder.
        job: the recipe of the dataset.
        unfinished: the shards that failed, and those that were not tried.
        stop: the request to stop, if there was one.
        done: how many samples are done, for the message.

    Raises:
        Incomplete: some shards were not tried; the same command tries them.
        RunError: all shards were tried, and some failed.
    """
    for failure in unfinished.failed:
        write_text(folder / failure_file(failure.item[0]), failure.trace)
    if unfinished.remaining:
        raise stop.incomplete(str(folder), done)
    if unfinished.failed:
        first, count = unfinished.failed[0].item
        raise RunError(
            str(folder),
            f"{counted(len(unfinished.failed), 'shard')} failed, "
            f"the first (samples {first} to {first + count - 1}) with {unfinished.failed[0].error}",
            f"see {command('explain', folder, str(first // job.shard_samples))}; the same command tries these again",
        )
