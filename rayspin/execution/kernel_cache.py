"""Compiled kernels that outlive a job: a folder of this user alone on the node's own disk.

It is for one CPU type and one version of what compiles: a home or disk image may come from a machine with another CPU,
whose code would end in an illegal instruction.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from rayspin import __version__

_UNUSED_S = 30 * 86400.0
"""Seconds without a job after which compiled kernels are swept."""


def kernel_cache(base: Path) -> Path | None:
    """The folder for compiled kernels in `base`, mode 0700; None where it can't be made or isn't this user's alone."""
    root = base / f"rayspin-kernels-{os.getuid()}"
    folder = root / hashlib.sha256("\n".join(_facts()).encode()).hexdigest()[:16]
    try:
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
        facts = root.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            return None
        folder.mkdir(exist_ok=True)
        # The sign that it is in use.
        os.utime(folder)
        _sweep(root)
    except OSError:
        return None
    return folder


def _facts() -> list[str]:
    """What machine code depends on beside its source, for which Numba itself looks."""
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    cpu = sorted({line for line in lines if line.startswith(wanted)}) or [platform.node()]
    return [*cpu, platform.machine(), sys.version, __version__, version("numba"), version("llvmlite")]


def _sweep(root: Path) -> None:
    for folder in root.iterdir():
        if time.time() - folder.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)
