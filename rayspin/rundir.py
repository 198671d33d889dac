"""The folder of a run, with its job (`job.toml`) and its summary (`summary.json`), and atomic writing of files.

Three rules make every run resumable. Files are written to a temporary file and renamed, so they are always complete. A
folder belongs to one job, and a different job is refused with a list of the differences. A finished run writes its
summary, which is returned when the same job is run again.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import pydantic
import tomli_w

from rayspin import __version__
from rayspin.claims import PATIENCE_S, HeldError, claim
from rayspin.errors import InputError, MachineError, RayspinError
from rayspin.inputs import RECORD_BYTES, MissingFileError, parse_json, parse_toml, raw_lines, read_text
from rayspin.paths import command, expanded_path

Table: TypeAlias = dict[str, Any]
Entry = TypeVar("Entry")
Natural = Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**62)]
"""A field of an entry: an integer, not negative."""
Seconds = Annotated[float, pydantic.Field(strict=True, ge=0, allow_inf_nan=False)]
"""A field of an entry: a duration, s."""

_LONGEST_LINE = 2**24
"""Maximum length of an entry in bytes; the longest entries contain the text of a job."""

_PACKAGES = ("numpy", "numba", "torch", "ray")
"""Packages on whose version results may depend."""

_PUT_BACK = "restore the file that rayspin wrote"

_MARK_S = 40.0
"""Seconds that a task waits until another has marked the folder: an NFS client may not see a new file for 30 s."""

_NO_ROOM = "free some space there, then run the same command again to resume"
_NOT_OURS = "give a writable folder with --out"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "raise the file size limit (ulimit -f), then run the same command again to resume",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.EROFS: _NOT_OURS,
    errno.ENOTDIR: _NOT_OURS,
    errno.EEXIST: _NOT_OURS,
    errno.ELOOP: "check which file was replaced by a symbolic link, or give another folder with --out",
}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Convert an `OSError` of a block that writes to `folder` to a `MachineError`.

    Raises:
        MachineError: a write failed; the message contains the reason given by the system.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the file system, then run the same command again")
        raise MachineError(str(folder), error.strerror or str(error), remedy) from None


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an error.

    After a crash or a power failure `path` holds either the old or the new content in full, because the temporary file
    is synced to disk before it is renamed, and the folder afterwards. The temporary file is removed after an error. If
    the process is killed, a file starting with ".tmp-" remains and is removed by the next run (`sweep_temporaries`).

    Raises:
        MachineError: the file cannot be written, for example because the disk is full or read-only.
    """
    path = Path(path)
    # The name contains host and process, because tasks on other nodes may write the same file at the same time.
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
    """Replace the content of the file at `path` by `text`, atomically and durably.

    Raises:
        MachineError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_lines(path: Path, entries: Iterable[Mapping[str, Any]], *, durably: bool = True) -> None:
    """Append each entry as a line of JSON to the file at `path`, all in one write.

    Args:
        path: path of the file, which is created if it does not exist.
        entries: the entries.
        durably: whether to wait until the lines are on disk.

    Raises:
        MachineError: the file cannot be written.
    """
    lines = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    with writing(path.parent), path.open("ab+") as stream:
        # A killed process may have left an incomplete line; a newline separates it from the next entry.
        size = stream.tell()
        torn = size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
        stream.write(b"\n" * torn + lines)
        stream.flush()
        if durably:
            os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[Table]:
    """Yield the entries written by `append_lines`, in order, without incomplete lines; none if the file does not exist.

    Raises:
        InputError: as for `numbered_lines`.
    """
    return (entry for _, entry in numbered_lines(path) if entry is not None)


def read_entries(path: Path, kind: type[Entry]) -> Iterator[Entry]:
    """Yield the entries of a file as instances of a dataclass, in order; lines that don't fit its fields are skipped.

    Args:
        path: path of the file.
        kind: the dataclass; keys of an entry that are no fields are ignored.

    Raises:
        InputError: as for `numbered_lines`.
    """
    adapter = pydantic.TypeAdapter(kind)
    for line in read_lines(path):
        with suppress(pydantic.ValidationError):
            yield adapter.validate_python(line)


def numbered_lines(path: Path) -> Iterator[tuple[int, Table | None]]:
    """Yield the line number, counted from 1, and the entry of each line; the entry is None for an incomplete line.

    Raises:
        InputError: the path is not a regular file, or a line is too long.
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
    """Remove the temporary files that killed processes have left in `folder`."""
    for leftover in folder.glob(".tmp-*"):
        leftover.unlink(missing_ok=True)


@dataclass(frozen=True)
class Summary:
    """Results of a finished run, to be shown to the user.

    Attributes:
        title: title of the table.
        figures: rows of the table, from names to values.
        pictures: paths of pictures, relative to the folder of the run.
        hints: suggestions for what to do next.
        parts: summaries of the stages of a pipeline.
        versions: package versions of the process that finished the run; empty if they are not known.
        seconds: wall time of the session that finished the run, s; 0 if it is not known.
    """

    title: str
    figures: dict[str, str]
    pictures: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    parts: tuple[Summary, ...] = field(default=())
    versions: str = field(default="", compare=False)
    seconds: float = field(default=0.0, compare=False)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Summary:
        """Return the summary from its tables, as created by `dataclasses.asdict`."""
        return cls(
            title=str(table["title"]),
            figures={name: str(value) for name, value in table["figures"].items()},
            pictures=tuple(map(str, table["pictures"])),
            hints=tuple(map(str, table["hints"])),
            parts=tuple(cls.from_table(part) for part in table["parts"]),
            versions=str(table.get("versions", "")),
            seconds=float(table.get("seconds", 0.0)),
        )


@dataclass(frozen=True)
class RunDir:
    """The folder of a run.

    Attributes:
        path: path of the folder, which need not exist yet.
        root: folder that references to other stages (`@name`) are relative to: the folder of the pipeline, or `path`.
    """

    path: Path
    root: Path

    @classmethod
    def at(cls, path: Path) -> RunDir:
        """Return the folder of a run that is not part of a pipeline."""
        return cls(path, path)

    def child(self, name: str) -> RunDir:
        """Return the folder of a stage or a trial inside this run, with the same root."""
        return RunDir(self.path / name, self.root)

    def locate(self, reference: str) -> Path:
        """Return the path for a reference in a job file: `@name` is the folder of another stage, anything else a path.

        A relative path is relative to the working folder, as on the command line, not to the folder of the job file.

        Raises:
            InputError: the path is not valid on this machine.
        """
        if reference.startswith("@"):
            return self.root / reference[1:]
        return expanded_path(Path(reference), "path")

    @property
    def job_file(self) -> Path:
        """Path of the file with the resolved job."""
        return self.path / "job.toml"

    @property
    def summary_file(self) -> Path:
        """Path of the file with the summary of the finished run."""
        return self.path / "summary.json"

    def asked(self) -> Table | None:
        """Return the resolved job that this folder belongs to, or None if it has no job.

        Raises:
            InputError: the job file exists but cannot be read.
        """
        try:
            text = read_text(self.job_file, limit=RECORD_BYTES, remedy=self._remedy)
            return parse_toml(text, str(self.job_file), self._remedy)
        except MissingFileError:
            return None

    @property
    def _remedy(self) -> str:
        return f"for a dataset, restore it with {command('repair', self.path)}; otherwise ask the owner of the run"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Convert the errors of a block that reads the files of a run, which may be damaged, to `InputError`.

        Raises:
            InputError: the files are not as rayspin wrote them.
        """
        try:
            yield
        except RayspinError:
            raise
        except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(str(self.job_file), f"not as rayspin wrote it ({error!r})", self._remedy) from None

    def finished(self, job: Table) -> Summary | None:
        """Return the summary if exactly this job has finished in this folder, else None."""
        if self.asked() != job:
            return None
        try:
            text = read_text(self.summary_file, limit=RECORD_BYTES)
            return Summary.from_table(parse_json(text, str(self.summary_file)))
        except (AttributeError, LookupError, TypeError, ValueError):
            # The summary is missing or damaged: the run resumes from the existing files and writes it again.
            return None

    def finish(self, summary: Summary) -> None:
        """Mark the run as finished by writing its summary, with the package versions of this process."""
        versions = f"rayspin {__version__}, {package_versions(_PACKAGES)}"
        write_text(self.summary_file, json.dumps(asdict(replace(summary, versions=versions)), indent=1) + "\n")

    def check_same(self, job: Table, may_change: frozenset[str]) -> None:
        """Check that the folder is new or belongs to the same job.

        Args:
            job: the resolved job.
            may_change: patterns of dotted keys that may differ, such as the number of samples or epochs.

        Raises:
            InputError: the folder belongs to a different job; the message lists all differences.
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
        """Hold the exclusive lock of the folder while the block runs, after creating it and writing the job to it.

        Args:
            job: the resolved job.
            may_change: as in `check_same`.
            patience_s: seconds to wait for the lock.

        Raises:
            InputError: the folder holds the run of a different job.
            HeldError: another process holds the lock.
            MachineError: the folder cannot be written.
        """
        self.check_same(job, may_change)
        with ExitStack() as stack:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(claim(self.path, patience_s=patience_s))
                # Another job may have been written before the lock was acquired.
                self.check_same(job, may_change)
                # The lock is exclusive, so all temporary files are of dead processes.
                sweep_temporaries(self.path)
                if self.asked() != job:
                    self.summary_file.unlink(missing_ok=True)
                    write_text(self.job_file, tomli_w.dumps(job))
            yield

    @contextmanager
    def shared(self, job: Table, may_change: frozenset[str], task: str) -> Iterator[None]:
        """Hold the shared lock of the folder for a task of an array, after creating it and writing the job to it.

        Args:
            job: the resolved job.
            may_change: as in `check_same`.
            task: name of the part that the task works on; not empty.

        Raises:
            InputError: the folder holds the run of a different job.
            HeldError: a process holds the exclusive lock, or tasks of a larger or smaller job hold the shared one.
            MachineError: the folder cannot be written.
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
        """Write the job to the folder under the exclusive lock, unless another task does so first."""
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
    """Return the differences of two nested tables.

    Args:
        old: the first table.
        new: the second table.
        prefix: prefix of the dotted keys.

    Returns:
        (dotted key, old value, new value) for each difference; a missing value is None.
    """
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


def package_versions(names: Iterable[str]) -> str:
    """Return the names and versions of packages that are installed, such as "numpy 2.1.0, ray 2.52.0"."""
    found = []
    for name in names:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)
