"""Who works on a folder: one run alone, or many tasks of a job array beside each other.

The truth is the kernel's lock on `.lock`, exclusive for a run and shared for tasks. It ends with its process, so nobody
ever waits for the dead or guesses who is; over NFS the server keeps it for all nodes. Where a file system has no such
locks (some mounts of Lustre and NFS), leases take their place: a dead holder's runs out after `LEASE_S`.

Beside it lies a note of each holder (`.holder-*`: host, process, job, since when), touched every `BEAT_S` seconds.
Notes are for people: what a refused run and `rayspin status` say; no claim depends on them.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import filelock

from rayspin.errors import RunError
from rayspin.inputs import parse_json, read_text

BEAT_S = 10.0
"""Seconds between two signs of life of a holder."""

LEASE_S = 60.0
"""Seconds without a sign of life after which a holder on another host is held to be dead."""

PATIENCE_S = 5.0
"""How long a claim waits for one that is about to end: another task that marks the folder as begun or finished."""

_POLL_S = 0.05
_NOTES = ".holder-*"
_NOTE_BYTES = 4096
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class HeldError(RunError):
    """Somebody else works on the folder."""


@dataclass(frozen=True)
class Holder:
    """What a process says of itself while it works on a folder."""

    host: str
    process: int
    started: str
    """Of the process, in ticks since its host's boot: process numbers come back."""
    since: str
    job: str = ""
    """The scheduler's number of the job, if it is one."""
    task: str = ""
    """The part that a task of an array works on; empty for a run that works alone."""

    @classmethod
    def this(cls, task: str) -> Holder:
        """This process."""
        array = f"{os.environ.get('SLURM_ARRAY_JOB_ID')}_{os.environ.get('SLURM_ARRAY_TASK_ID')}"
        job = array if "SLURM_ARRAY_JOB_ID" in os.environ else os.environ.get("SLURM_JOB_ID", "")
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()), now, job, task)

    def __str__(self) -> str:
        job = f"job {self.job}, " if self.job else ""
        task = f"{self.task}, " if self.task else ""
        return f"process {self.process} on {self.host} ({task}{job}since {self.since})"


@contextmanager
def claim(folder: Path, task: str = "", patience_s: float = 0.0) -> Iterator[None]:
    """The folder is claimed for the length of the block: for this process alone, or shared with other tasks.

    Args:
        folder: it exists.
        task: what a task of an array calls its part; empty claims the whole folder.
        patience_s: how long to wait for whoever holds it.

    Raises:
        HeldError: with who holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(folder / ".lock", shared=bool(task), patience_s=patience_s))
        except TimeoutError:
            who = described(holders(folder)) or "another process"
            raise HeldError(str(folder), f"{who} works on it", "wait for its end, or stop it") from None
        if not task:
            # Alone: whoever else has a note here is dead.
            for path in folder.glob(_NOTES):
                path.unlink(missing_ok=True)
        stack.enter_context(_note(folder, Holder.this(task)))
        yield


def holders(folder: Path) -> dict[Holder, float]:
    """Who works on the folder by their notes, with the seconds since the last sign of life; the dead are left out."""
    found = {}
    for path in sorted(folder.glob(_NOTES)):
        with suppress(OSError, ValueError, TypeError):
            silent_s = max(time.time() - path.stat().st_mtime, 0.0)
            holder = Holder(**parse_json(read_text(path, limit=_NOTE_BYTES), str(path)))
            if holder.host == socket.gethostname():
                alive = _start_of(holder.process) == holder.started
            else:
                alive = silent_s < LEASE_S
            if alive:
                found[holder] = silent_s
    return found


def described(found: dict[Holder, float]) -> str:
    """The holders in a few words."""
    if len(found) < 2:
        return "".join(map(str, found))
    return f"{len(found)} tasks ({next(iter(found))} and others)"


@contextmanager
def _locked(path: Path, *, shared: bool, patience_s: float) -> Iterator[None]:
    end = time.monotonic() + patience_s
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        while True:
            try:
                # Over NFS this becomes a lock at the server, seen by every node.
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    with _leased(path, shared=shared, patience_s=patience_s):
                        yield
                    return
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() >= end:
                raise TimeoutError
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _leased(path: Path, *, shared: bool, patience_s: float) -> Iterator[None]:
    """The same through files alone: holders renew a lease, and one that ran out is taken over."""
    lock = filelock.SoftReadWriteLock(path, heartbeat_interval=BEAT_S, stale_threshold=LEASE_S, is_singleton=False)
    acquire = lock.acquire_read if shared else lock.acquire_write
    try:
        # A dead holder is known by its silence, so this wait can't be shorter than a lease.
        acquire(timeout=max(patience_s, LEASE_S + BEAT_S))
    except filelock.Timeout:
        raise TimeoutError from None
    try:
        yield
    finally:
        lock.close()


@contextmanager
def _note(folder: Path, holder: Holder) -> Iterator[None]:
    path = folder / f".holder-{holder.host}-{holder.process}-{secrets.token_hex(3)}"
    path.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            with suppress(OSError):
                os.utime(path)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        path.unlink(missing_ok=True)


def _start_of(process: int) -> str:
    """When a process started, in clock ticks since the boot of this machine; empty if there is no such process.

    psutil reports seconds since the epoch, which differ between two processes if the clock was set in between.
    """
    with suppress(OSError):
        # The name of the process, which comes before, may hold blanks and brackets.
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b") ")[2].split()[19].decode()
    return ""
