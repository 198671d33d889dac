"""The cache of compiled kernels: private, separate for each CPU type and version, and deleted when unused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayspin.execution import kernel_cache as module
from rayspin.execution.kernel_cache import kernel_cache
from rayspin.execution.ray_node import ray_environment

MONTH_S = 31 * 86400


def test_next_job_reuses_compiled_kernels(tmp_path: Path) -> None:
    first, second = tmp_path / "rs-1", tmp_path / "rs-2"
    first.mkdir()
    second.mkdir()
    folder = Path(ray_environment(first, "secret", None)["NUMBA_CACHE_DIR"])
    (folder / "kernel.nbc").touch()
    assert Path(ray_environment(second, "other", None)["NUMBA_CACHE_DIR"]) == folder
    assert (folder / "kernel.nbc").exists()
    assert folder.parent.parent == tmp_path
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_each_cpu_type_and_version_has_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = kernel_cache(tmp_path)
    monkeypatch.setattr(module, "_facts", lambda: ["another CPU"])
    assert kernel_cache(tmp_path) not in (own, None)


def test_folders_unused_for_a_month_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = kernel_cache(tmp_path)
    assert used is not None
    unused = used.with_name("unused")
    (unused / "below").mkdir(parents=True)
    for folder in (used, unused):
        old = folder.stat().st_mtime - MONTH_S
        os.utime(folder, (old, old))
    assert kernel_cache(tmp_path) == used
    assert list(used.parent.iterdir()) == [used]


def test_folder_that_others_can_write_or_own_is_not_used(tmp_path: Path) -> None:
    """Compiled code is loaded from the folder, and another user may have created a folder of that name first."""
    root = tmp_path / f"rayspin-kernels-{os.getuid()}"
    root.mkdir()
    root.chmod(0o777)
    assert kernel_cache(tmp_path) is None
    root.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "elsewhere")
    assert kernel_cache(tmp_path) is None
    private = tmp_path / "rs-1"
    private.mkdir()
    assert ray_environment(private, "secret", None)["NUMBA_CACHE_DIR"] == str(private / "numba")
