"""Cache of compiled Numba kernels that outlives a job: a private folder on the node's local disk.

Each combination of CPU type and compiler version has a folder of its own. A home folder or a disk image may come from a
machine with another CPU, whose compiled code would fail with an illegal instruction.
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
"""Seconds since the last use after which compiled kernels are deleted."""


def kernel_cache(base: Path) -> Path | None:
    """Return the folder for compiled kernels below `base`, creating it if needed; its parent has mode 0700.

    Returns:
        The folder; None if it can't be created, or if its parent is accessible to other users.
    """
    root = base / f"rayspin-kernels-{os.getuid()}"
    folder = root / hashlib.sha256("\n".join(_facts()).encode()).hexdigest()[:16]
    try:
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
        facts = root.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            return None
        folder.mkdir(exist_ok=True)
        # The modification time marks the folder as in use, see `_sweep`.
        os.utime(folder)
        _sweep(root)
    except OSError:
        return None
    return folder


def _facts() -> list[str]:
    """Properties that compiled code depends on, apart from the source code, which Numba checks itself."""
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
