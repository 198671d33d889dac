"""Locking of the folder of a run, exclusively by one process or shared by the tasks of a job array.

The lock is a kernel lock (flock) on the file `.lock`, exclusive for a run and shared for tasks. The kernel releases it
when its process ends, so a lock of a dead process never blocks a run. On NFS the server manages it for all nodes. On
file systems without such locks (some mounts of Lustre and NFS), leases are used instead: the lease of a dead process
expires after `LEASE_S` seconds.

Each holder of the lock also writes a file `.holder-*` (host, process, job, start time) and updates its modification
time every `BEAT_S` seconds. These files are only used to report who holds the lock.
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

from rayspin import signals
from rayspin.errors import RunError
from rayspin.inputs import parse_json, read_text

BEAT_S = 10.0
"""Seconds between two updates of a lease or holder file."""

LEASE_S = 60.0
"""Seconds without an update after which a holder on another host is considered dead."""

PATIENCE_S = 5.0
"""Seconds to wait for a lock held only briefly, by another task that marks the folder as started or finished."""

_POLL_S = 0.05
_NOTES = ".holder-*"
_NOTE_BYTES = 4096
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class HeldError(RunError):
    """Another process holds the lock of the folder."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as recorded in its holder file.

    Attributes:
        host: name of its host.
        process: its process ID.
        started: its start time in clock ticks since boot, to detect that its process ID has been reused.
        since: time at which it acquired the lock, in ISO format.
        job: ID of its job at the scheduler; empty outside of jobs.
        task: the part that a task of an array works on; empty for an exclusive lock.
    """

    host: str
    process: int
    started: str
    since: str
    job: str = ""
    task: str = ""

    @classmethod
    def this(cls, task: str) -> Holder:
        """Return the holder that describes this process."""
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
    """Hold the lock of a folder while the block runs, exclusively or shared with other tasks.

    Args:
        folder: an existing folder.
        task: name of the part that this task of an array works on, for a shared lock; empty for an exclusive lock.
        patience_s: seconds to wait for the lock.

    Raises:
        HeldError: another process holds the lock; the message names it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(folder / ".lock", shared=bool(task), patience_s=patience_s))
        except TimeoutError:
            who = described(holders(folder)) or "another process"
            raise HeldError(str(folder), f"in use by {who}", "wait until it ends, or stop it") from None
        if not task:
            # The lock is exclusive, so all other holder files are of dead processes.
            for path in folder.glob(_NOTES):
                path.unlink(missing_ok=True)
        stack.enter_context(_note(folder, Holder.this(task)))
        yield


def holders(folder: Path) -> dict[Holder, float]:
    """Return the living holders of a folder's lock and the seconds since each last updated its holder file."""
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
    """Return a short description of the holders, or an empty string if there are none."""
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
                # On NFS this becomes a lock on the server, which is valid for all nodes.
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
    """Hold a lease while the block runs: a lock file that its holder renews and that others take over once expired."""
    lock = filelock.SoftReadWriteLock(path, heartbeat_interval=BEAT_S, stale_threshold=LEASE_S, is_singleton=False)
    acquire = lock.acquire_read if shared else lock.acquire_write
    try:
        # A dead holder is only detected when its lease expires, so the wait must be longer than a lease.
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
    signals.start(beating)
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
