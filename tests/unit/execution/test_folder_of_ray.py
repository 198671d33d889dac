"""The private folder of a Ray node is created where the paths of Ray's sockets are short enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.execution import ray_node
from rayspin.execution.ray_node import node_folder, ray_environment


def unusable_folders(tmp_path: Path) -> dict[str, str]:
    """Folders that are refused, with the reason."""
    long, file = tmp_path / ("x" * 60), tmp_path / "file"
    long.mkdir()
    file.touch()
    foreign = os.fsdecode(b"/tmp/t\xff%d" % os.getpid())
    Path(foreign).mkdir(exist_ok=True)
    # Fifteen characters of two bytes each: few characters, but too many bytes.
    umlauts = f"/tmp/{'ö' * 15}"
    Path(umlauts).mkdir(exist_ok=True)
    return {
        str(long): "is longer than 30 characters",
        umlauts: "is longer than 30 characters",
        str(file): "is not a writable folder",
        "/nowhere": "is not a writable folder",
        foreign: "is not valid UTF-8",
    }


def test_unusable_tmpdir_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in unusable_folders(tmp_path):
        monkeypatch.setenv("TMPDIR", folder)
        with node_folder(None) as created:
            assert created.parent == Path("/tmp")
            assert created.stat().st_mode & 0o777 == 0o700
        if folder.startswith("/tmp/t\udcff") or "ö" in folder:
            Path(folder).rmdir()


def test_error_lists_all_candidates_if_no_folder_is_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(ray_node, "_USUAL_BASES", ("/nowhere", "/neither"))
    with pytest.raises(InputError) as refused, node_folder(None):
        pass
    assert str(refused.value) == (
        f"folder for Ray: {long} is longer than 30 characters, /nowhere is not a writable folder, "
        "/neither is not a writable folder; set TMPDIR to a short path on this machine's local disk"
    )


def test_single_node_uses_the_loopback_interface_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "y" * 100)
    environment = ray_environment(tmp_path, "secret", None, alone=True)
    assert (environment["GLOO_SOCKET_IFNAME"], environment["NCCL_SOCKET_IFNAME"]) == ("lo", "lo")
    assert "RAY_TMPDIR" not in environment


def test_ray_client_server_is_disabled(tmp_path: Path) -> None:
    """Ray calls the hook named by the variable with the parameters of the node that it starts."""
    from ray._common.utils import load_class
    from ray._private.parameter import RayParams

    parameters = RayParams(ray_client_server_port=10001)
    load_class(ray_environment(tmp_path, "secret", None)["RAY_START_HOOK"])(parameters, True)
    assert parameters.ray_client_server_port is None
