"""Run folders: atomic replacement of files, one job per folder, and one run at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rayspin import __version__
from rayspin.errors import InputError, RunError
from rayspin.rundir import RunDir, Summary, differing, replacing, sweep_temporaries, write_text


def test_replacement_of_a_file_is_atomic(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:  # noqa: PT012  the block is what fails
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_is_synced_before_and_its_folder_after_the_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    write_text(target, "old")
    synced: list[tuple[Path, str]] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), target.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(target, "new")
    [(temporary, before), (folder, after)] = synced
    assert temporary.name.startswith(".tmp-")
    assert (before, folder, after) == ("old", tmp_path, "new")


def test_killed_write_leaves_the_old_file_and_a_removable_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from rayspin.rundir import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    sweep_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


def test_references_are_relative_to_the_pipeline(tmp_path: Path) -> None:
    trial = RunDir.at(tmp_path / "pipe").child("tune").child("trials").child("a1")
    assert trial.locate("@generate") == tmp_path / "pipe" / "generate"
    assert trial.locate("data/labyrinth") == Path("data/labyrinth")


def test_different_job_is_refused_with_its_differences(tmp_path: Path) -> None:
    run = RunDir.at(tmp_path / "run")
    with run.claimed({"kind": "a", "physics": {"dmi": 0.3}, "samples": 4}):
        pass
    with pytest.raises(InputError, match=r"\(physics.dmi is 0.3 there and 0.5 in the job\); give another folder"):
        run.check_same({"kind": "a", "physics": {"dmi": 0.5}, "samples": 4}, frozenset())
    with pytest.raises(InputError, match="samples is 4 there and 8"):
        run.check_same({"kind": "a", "physics": {"dmi": 0.3}, "samples": 8}, frozenset())
    run.check_same({"kind": "a", "physics": {"dmi": 0.3}, "samples": 8}, frozenset({"samples"}))


def test_finished_run_is_identified_by_its_job(tmp_path: Path) -> None:
    run, job = RunDir.at(tmp_path / "run"), {"kind": "a", "samples": 4}
    summary = Summary("a", {"samples": "4"}, ("x.png",), parts=(Summary("b", {}),))
    assert run.finished(job) is None
    with run.claimed(job):
        assert run.finished(job) is None
        run.finish(summary)
    finished = run.finished(job)
    assert finished == summary
    assert finished.versions.startswith(f"rayspin {__version__}, numpy {np.__version__}")
    larger_job = job | {"samples": 8}
    assert run.finished(larger_job) is None
    with run.claimed(larger_job, frozenset({"samples"})):
        # The old summary is deleted with the old job, so that a run killed now does not look finished.
        assert run.finished(larger_job) is None


def _hold(path: Path, ready: object, release: object) -> None:
    with RunDir.at(path).claimed({"kind": "a"}):
        ready.set()  # type: ignore[attr-defined]
        release.wait()  # type: ignore[attr-defined]


def test_second_run_is_refused_while_the_first_one_is_alive(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, release = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(tmp_path / "run", ready, release))
    holder.start()
    try:
        assert ready.wait(30)
        run = RunDir.at(tmp_path / "run")
        with pytest.raises(RunError, match=f"in use by process {holder.pid} on "), run.claimed({"kind": "a"}):
            pass
        os.kill(holder.pid or 0, signal.SIGKILL)
        holder.join()
        with run.claimed({"kind": "a"}):
            pass
    finally:
        holder.kill()


def test_differences_include_keys_that_one_side_lacks() -> None:
    assert differing({"a": 1, "t": {"x": 1}}, {"t": {"x": 1, "y": 2}}) == [("a", 1, None), ("t.y", None, 2)]
