"""Where the private folder of a Ray node goes: a place that Ray's sockets fit in, found by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.execution import ray_node
from rayspin.execution.ray_node import node_folder, ray_environment


def unfit_folders(tmp_path: Path) -> dict[str, str]:
    """Folders that won't do, and why."""
    long, file = tmp_path / ("x" * 60), tmp_path / "file"
    long.mkdir()
    file.touch()
    foreign = os.fsdecode(b"/tmp/t\xff%d" % os.getpid())
    Path(foreign).mkdir(exist_ok=True)
    # Fifteen letters of two bytes each: short, but not in bytes.
    umlauts = f"/tmp/{'ö' * 15}"
    Path(umlauts).mkdir(exist_ok=True)
    return {
        str(long): "is longer than 30 characters",
        umlauts: "is longer than 30 characters",
        str(file): "is no folder that can be written",
        "/nowhere": "is no folder that can be written",
        foreign: "is no UTF-8",
    }


def test_a_tmpdir_that_will_not_do_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in unfit_folders(tmp_path):
        monkeypatch.setenv("TMPDIR", folder)
        with node_folder(None) as made:
            assert made.parent == Path("/tmp")
            assert made.stat().st_mode & 0o777 == 0o700
        if folder.startswith("/tmp/t\udcff") or "ö" in folder:
            Path(folder).rmdir()


def test_where_no_place_will_do_each_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(ray_node, "_USUAL_BASES", ("/nowhere", "/neither"))
    with pytest.raises(InputError) as refused, node_folder(None):
        pass
    assert str(refused.value) == (
        f"folder for Ray: {long} is longer than 30 characters, /nowhere is no folder that can be written, "
        "/neither is no folder that can be written; set TMPDIR to a short path on this machine's own disk"
    )


def test_a_node_that_is_alone_says_nothing_to_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "y" * 100)
    environment = ray_environment(tmp_path, "secret", None, alone=True)
    assert (environment["GLOO_SOCKET_IFNAME"], environment["NCCL_SOCKET_IFNAME"]) == ("lo", "lo")
    assert "RAY_TMPDIR" not in environment


def test_the_server_of_ray_client_is_left_out(tmp_path: Path) -> None:
    """Ray calls what the variable names with the parameters of the node that it is about to start."""
    from ray._common.utils import load_class
    from ray._private.parameter import RayParams

    parameters = RayParams(ray_client_server_port=10001)
    load_class(ray_environment(tmp_path, "secret", None)["RAY_START_HOOK"])(parameters, True)
    assert parameters.ray_client_server_port is None
