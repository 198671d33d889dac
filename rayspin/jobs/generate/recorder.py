"""What is kept of the making of a dataset: its ledger, what was left in place or failed, and the card at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rayspin.errors import RunError
from rayspin.execution.dispatcher import Outcome
from rayspin.execution.stopping import StopRequest
from rayspin.jobs.generate.card import CARD, write_card
from rayspin.jobs.generate.making import MadeShard
from rayspin.jobs.generate.recipe import Recipe, Shard
from rayspin.paths import command
from rayspin.progress import Progress
from rayspin.rundir import Summary, write_text
from rayspin.storage import Catalog, ShardRecord, ledger, shard_name


class Recorder:
    """Keeps the ledger of one run: adopts what a killed run left in place, enters what workers make.

    Args:
        folder: the dataset's; claimed.
        job: what is made there.
        mine: which shards are this process's to make; by default all, and then it has the folder alone.
        to: name of the ledger that this process writes.
    """

    def __init__(
        self, folder: Path, job: Recipe, mine: Callable[[Shard], bool] | None = None, to: str = ledger.LEDGER
    ) -> None:
        self._folder, self._job, self._to = folder, job, to
        if mine is None:
            ledger.merge(folder)
        self._new_job = ledger.new_job(folder)
        self._catalog = Catalog.read(folder)
        self.samples_done = self._catalog.samples_done
        self.missing: list[Shard] = []
        """The shards still to make."""
        self._failed: set[Shard] = set()
        attributes = job.shard_attributes()
        self._made_with = f"{attributes['source']}, format {attributes['format']}: {attributes['versions']}"
        in_place = {path.name for path in folder.glob("*-*.*")}
        for shard in self._catalog.missing(job.samples, job.shard_samples):
            if mine is not None and not mine(shard):
                continue
            orphan = self._catalog.orphan(*shard, attributes) if shard_name(shard[0]) in in_place else None
            if orphan is None:
                self.missing.append(shard)
                if failure_file(shard[0]) in in_place:
                    self._failed.add(shard)
            else:
                self._append(orphan, note="adopted")
                self.samples_done += orphan.count

    def tell_of_others(self, progress: Progress) -> None:
        """Say so where other versions made shards that are there: their values agree only as far as the versions do."""
        others = {str(entry.get("made_with")) for entry in ledger.entries(self._folder)} - {self._made_with}
        if others:
            made = "; ".join(sorted(others))
            progress.say(f"{self._folder}: has shards made with {made}; new ones are made with {self._made_with}")

    def enter(self, shard: Shard, made: MadeShard, **facts: str) -> None:
        """Enter a shard that a worker put in place, with what else there is to say."""
        self._append(made.record, host=made.host, seconds=made.seconds, **facts)
        self.samples_done += shard[1]
        if shard in self._failed:
            (self._folder / failure_file(shard[0])).unlink(missing_ok=True)

    def _append(self, record: ShardRecord, **facts: str | float) -> None:
        # The job goes with the first shard: a ledger that grows is the sign of a run that gets somewhere.
        self._catalog.append(record, self._to, after=self._new_job, made_with=self._made_with, **facts)
        self._new_job = []

    def summary(self, *, card: bool = True) -> Summary:
        """The table of the whole dataset; and its card, which takes a second or two."""
        pictures = write_card(self._folder) if card else ()
        catalog = Catalog.read(self._folder)
        energies = catalog.column("energy")
        return Summary(
            "dataset",
            {
                "samples": f"{catalog.samples_done} of {self._job.size[0]} x {self._job.size[1]}",
                "shards": f"{len(catalog.records)}, {catalog.bytes / 1e6:.1f} MB",
                "energy per site": f"{energies.mean():.5f} +- {energies.std():.5f} J",
            },
            pictures=pictures,
            hints=(command("verify", self._folder), *([f"see {self._folder / CARD}"] if card else [])),
        )


def failure_file(first_sample: int) -> str:
    """The name of the file that keeps the traceback of a shard that could not be made."""
    return f"failed-{first_sample:08d}.txt"


def settle(folder: Path, job: Recipe, outcome: Outcome[Shard], stop: StopRequest, done: str) -> None:
    """Keep the traceback of each shard that failed in a file of its own, and raise unless all were made.

    Args:
        folder: the dataset's.
        job: what is made there.
        outcome: of making shards.
        stop: what may have ended it early.
        done: how far it came, for people.

    Raises:
        Incomplete: some were not tried; asked again, they are.
        RunError: all were tried, and some failed.
    """
    for failure in outcome.failed:
        write_text(folder / failure_file(failure.item[0]), failure.trace)
    if outcome.remaining:
        raise stop.incomplete(str(folder), done)
    if outcome.failed:
        first, count = outcome.failed[0].item
        raise RunError(
            str(folder),
            f"{len(outcome.failed)} shards failed, the first (samples {first} to {first + count - 1}) with "
            f"{outcome.failed[0].error}",
            f"see {command('explain', folder, str(first // job.shard_samples))}; the same command tries these again",
        )
