"""Run a job repeatedly in forks of this process, each time with a fault at another system call (see interpose.c).

    LD_PRELOAD=interpose.so python -m tests.support.steps FOLDER MODE STRIDE

Unlike in `rayspin run`, the shards are generated in the driver, so that the order of the calls is fixed. After each
fault the folder is checked, the job is run again without faults, and the result is checked.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import functools
import importlib
import itertools
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rayspin.cli import main
from rayspin.jobs.generate import card
from rayspin.physics import LABYRINTH, warm_up
from tests.support.folders import JOB, check_complete, check_finished, inodes, visible_files
from tests.support.serial import make_shards_here

MODES = {"kill": -1, "half": -2, "full": errno.ENOSPC, "broken": errno.EIO}
libc = ctypes.CDLL(None)


def run(job: Path, folder: Path, arm: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Run the job in a fork and return its exit code (minus the signal if it was killed) and standard error."""
    stderr = folder.with_name(f"stderr-of-{folder.name}")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            arm()
            main(["run", str(job), "--out", str(folder)], prog_name="rayspin")
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), stderr.read_text()


def check_refused(code: int, stderr: str, mode: str) -> None:
    """Assert that the run failed with one line, or that HDF5 crashed because space ran out during a write."""
    if code != -signal.SIGSEGV:
        assert code == 1, (code, stderr)
        assert stderr.count("\n") == 1, stderr
        assert os.strerror(MODES[mode]) in stderr or "HDF5 failed to write" in stderr, stderr


def inject_faults(base: Path, mode: str, stride: int) -> int:
    """Run the job with a fault at every `stride`-th call until a run succeeds, and return the number of faults."""
    job, folder = base / "job.toml", base / "run"
    job.write_text(JOB)
    first = run(job, base / "undisturbed")
    assert first == (0, ""), first
    undisturbed = visible_files(base / "undisturbed")
    for at in itertools.count(1, stride):
        shutil.rmtree(folder, ignore_errors=True)
        code, stderr = run(job, folder, functools.partial(libc.arm_fault, os.fsencode(folder), at, MODES[mode]))
        try:
            if code == 0:
                check_finished(folder, undisturbed)
                return at // stride
            check_complete(folder, undisturbed, writers=1)
            if mode in ("kill", "half"):
                assert code == -signal.SIGKILL, stderr
            else:
                check_refused(code, stderr, mode)
            kept = inodes(folder)
            again = run(job, folder)
            assert again == (0, ""), again
            check_finished(folder, undisturbed)
            assert kept.items() <= inodes(folder).items(), "an intact shard was written again"
        except BaseException as error:
            error.add_note(f"after a fault ({mode}) at call {at}: {sorted(path.name for path in folder.glob('*'))}")
            raise
    raise AssertionError


def prepare() -> None:
    """Make runs generate shards in this process, and do slow initialization once before the first fork."""
    make_shards_here()
    # A process that drops its privileges may not be able to load this codec later.
    codecs.lookup("utf-8-sig")
    # The card is written without its pictures, which would take seconds in each run.
    card._draw = lambda catalog: None
    for module in ("rich.console", "rayspin.console", "rayspin.job", "rayspin.jobs.generate.repair"):
        importlib.import_module(module)
    warm_up(LABYRINTH)


if __name__ == "__main__":
    prepare()
    print(inject_faults(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
