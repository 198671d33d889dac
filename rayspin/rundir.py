"""The folder that one run owns: what was asked (`job.toml`), and how it ended (`summary.json`).

The rules that make any run resumable live here: files appear whole, by rename; a folder belongs to one job, and a
different job is refused with the differences; a run that ended says so in a summary, and asked again returns it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

from rayspin.claims import PATIENCE_S, HeldError, claim
from rayspin.errors import InputError, MachineError, RayspinError
from rayspin.inputs import RECORD_BYTES, MissingFileError, parse_json, parse_toml, raw_lines, read_text
from rayspin.paths import command, expanded_path

Table: TypeAlias = dict[str, Any]

_LONGEST_LINE = 2**24
"""Bytes of an entry: the text of a job is the longest."""

_PUT_BACK = "put back the file that rayspin wrote"

_MARK_S = 40.0
"""How long a task waits for the mark of another: an NFS client may not see a new file for 30 s."""

_NO_ROOM = "make room there, then run the same command again: it goes on"
_NOT_OURS = "give a folder that can be written, with --out"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), then run the same command again: it goes on",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.EROFS: _NOT_OURS,
    errno.ENOTDIR: _NOT_OURS,
    errno.ELOOP: "see who put a link there in place of a file, or give another folder with --out",
}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """The block writes in `folder`; if the system refuses, that is the machine's failure.

    Raises:
        MachineError: with what the system says.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "look after that file system, then run the same command again")
        raise MachineError(str(folder), error.strerror or str(error), remedy) from None


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, whole and on disk, when the block ends without an error.

    After a crash or a power failure `path` holds the old content or the new, never a part: the temporary file is
    synced before it is renamed, and the folder after. What an error leaves behind is removed; what a kill leaves
    behind starts with ".tmp-" and is swept by the next run (`sweep_temporaries`).

    Raises:
        MachineError: the system refuses, for want of room or of rights.
    """
    path = Path(path)
    # Tasks on other nodes may make the same file at the same time.
    temporary = path.with_name(f".tmp-{socket.gethostname()}-{os.getpid()}-{path.name}")
    with writing(path.parent):
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put `text` in place of the file at `path`, atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_lines(path: Path, entries: Iterable[Mapping[str, Any]], *, durably: bool = True) -> None:
    """Add a line of JSON for each entry to the file at `path`, all in one go; `durably`: they are on disk afterwards.

    Raises:
        MachineError: the system refuses to write.
    """
    lines = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    with writing(path.parent), path.open("ab+") as stream:
        # A kill can leave half a line; it must not swallow the next one.
        size = stream.tell()
        torn = size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
        stream.write(b"\n" * torn + lines)
        stream.flush()
        if durably:
            os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[Table]:
    """The entries that `append_lines` wrote, the oldest first; none if there is no file. Torn lines are passed over."""
    return (entry for _, entry in numbered_lines(path) if entry is not None)


def numbered_lines(path: Path) -> Iterator[tuple[int, Table | None]]:
    """The same with the number of each line, from 1, and None for a torn one.

    Raises:
        InputError: there is no regular file, or one of endless lines.
    """
    try:
        for number, line in enumerate(raw_lines(path, limit=_LONGEST_LINE, remedy=_PUT_BACK), 1):
            try:
                entry = parse_json(line.decode(errors="replace"), str(path))
            except InputError:
                entry = None
            yield number, entry if isinstance(entry, dict) else None
    except MissingFileError:
        return


def sync(path: Path) -> None:
    """Wait until the file or folder at `path` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed writers left in `folder`."""
    for leftover in folder.glob(".tmp-*"):
        leftover.unlink(missing_ok=True)


@dataclass(frozen=True)
class Summary:
    """How a run ended, for people: a short table, pictures to look at, what to try next."""

    title: str
    figures: dict[str, str]
    pictures: tuple[str, ...] = ()
    """Paths relative to the run's folder."""
    hints: tuple[str, ...] = ()
    parts: tuple[Summary, ...] = field(default=())
    """Summaries of the stages of a pipeline."""

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Summary:
        """The summary that `dataclasses.asdict` turned into plain tables."""
        return cls(
            title=str(table["title"]),
            figures={name: str(value) for name, value in table["figures"].items()},
            pictures=tuple(map(str, table["pictures"])),
            hints=tuple(map(str, table["hints"])),
            parts=tuple(cls.from_table(part) for part in table["parts"]),
        )


@dataclass(frozen=True)
class RunDir:
    """A run's folder.

    Attributes:
        path: the folder; it need not exist yet.
        root: the folder that references to other stages (`@name`) start from: the pipeline's, or the folder itself.
    """

    path: Path
    root: Path

    @classmethod
    def at(cls, path: Path) -> RunDir:
        """The folder of a run that stands alone."""
        return cls(path, path)

    def child(self, name: str) -> RunDir:
        """The folder of a stage or a trial inside this run; references start where they start here."""
        return RunDir(self.path / name, self.root)

    def locate(self, reference: str) -> Path:
        """The path that a job file means: `@name` is another stage's folder, anything else a path.

        A relative path starts from the working folder, as on the command line, and not from the job file's.

        Raises:
            InputError: it is no path on this machine.
        """
        if reference.startswith("@"):
            return self.root / reference[1:]
        return expanded_path(Path(reference), "path")

    @property
    def job_file(self) -> Path:
        """Where the resolved job lies."""
        return self.path / "job.toml"

    @property
    def summary_file(self) -> Path:
        """Where a run that ended says so."""
        return self.path / "summary.json"

    def asked(self) -> Table | None:
        """The resolved job that this folder was made for, or None.

        Raises:
            InputError: it is there and can't be read.
        """
        try:
            text = read_text(self.job_file, limit=RECORD_BYTES, remedy=self._remedy)
            return parse_toml(text, str(self.job_file), self._remedy)
        except MissingFileError:
            return None

    @property
    def _remedy(self) -> str:
        return f"of a dataset, {command('repair', self.path)} puts it back; else look who owns the run"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The block reads the files of a run, which may be damaged.

        Raises:
            InputError: they are not what was written.
        """
        try:
            yield
        except RayspinError:
            raise
        except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(str(self.job_file), f"is not what was written ({error!r})", self._remedy) from None

    def finished(self, job: Table) -> Summary | None:
        """The summary, if exactly this job has ended here."""
        if self.asked() != job:
            return None
        try:
            text = read_text(self.summary_file, limit=RECORD_BYTES)
            return Summary.from_table(parse_json(text, str(self.summary_file)))
        except (AttributeError, LookupError, TypeError, ValueError):
            # Gone, torn or none: the run is done again from what is there, and says it anew.
            return None

    def finish(self, summary: Summary) -> None:
        """Keep the summary: the run has ended."""
        write_text(self.summary_file, json.dumps(asdict(summary), indent=1) + "\n")

    def check_same(self, job: Table, may_change: frozenset[str]) -> None:
        """Refuse a job that differs from the one this folder was made for.

        Args:
            job: the resolved job.
            may_change: patterns of dotted keys that may differ: a larger count, more epochs.

        Raises:
            InputError: with every difference.
        """
        there = self.asked()
        if there is None:
            return
        differences = [
            f"{key} is {_shown(old)} there and {_shown(new)} in the job"
            for key, old, new in differing(there, job)
            if not any(fnmatch(key, pattern) for pattern in may_change)
        ]
        if differences:
            problem = f"holds the run of another job ({', '.join(differences)})"
            raise InputError(str(self.path), problem, "give another folder with --out, or undo the change")

    @contextmanager
    def claimed(self, job: Table, may_change: frozenset[str] = frozenset(), patience_s: float = 0.0) -> Iterator[None]:
        """The folder made, claimed for this process alone and marked as this job's for the length of the block.

        Raises:
            InputError: the folder holds the run of another job.
            HeldError: another process works on it.
            MachineError: it can't be written.
        """
        self.check_same(job, may_change)
        with ExitStack() as stack:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(claim(self.path, patience_s=patience_s))
                # Another job may have come first.
                self.check_same(job, may_change)
                # Alone: whatever is left of others is of the dead.
                sweep_temporaries(self.path)
                if self.asked() != job:
                    self.summary_file.unlink(missing_ok=True)
                    write_text(self.job_file, tomli_w.dumps(job))
            yield

    @contextmanager
    def shared(self, job: Table, may_change: frozenset[str], task: str) -> Iterator[None]:
        """The folder made and marked as this job's, and claimed for a task beside other tasks of the same job.

        Args:
            job: the resolved job.
            may_change: as in `check_same`.
            task: what the task calls its part; not empty.

        Raises:
            InputError: the folder holds the run of another job.
            HeldError: a run that works alone holds it, or tasks of a larger or smaller job.
            MachineError: it can't be written.
        """
        self.check_same(job, may_change)
        with ExitStack() as stack:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                self._mark(job, may_change)
                stack.enter_context(claim(self.path, task, PATIENCE_S))
                self.check_same(job, frozenset())
            yield

    def _mark(self, job: Table, may_change: frozenset[str]) -> None:
        """Mark the folder, alone for a moment, unless another task has done so meanwhile."""
        end = time.monotonic() + _MARK_S
        while self.asked() != job:
            try:
                with self.claimed(job, may_change):
                    pass
            except HeldError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.1)


def differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Where two tables differ: (dotted key, old value, new value), None for a key that one of them lacks."""
    found: list[tuple[str, Any, Any]] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differing(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value)
