"""A killed generation with Ray resumes and gives the same bytes as an undisturbed run."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from rayspin import job
from tests.support import datasets
from tests.support.runs import started


def test_killed_generation_resumes_and_gives_the_same_bytes(tmp_path: Path) -> None:
    stage = datasets.labyrinths(
        40, 32, seed=5, shard_samples=1, schedule={"sweeps": 60_000, "quench_sweeps": 100}, splits={"test": 2}
    )
    datasets.make(stage, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "job.toml", tmp_path / "killed"
    job_file.write_text(job.to_toml(stage))
    with started(job_file, folder) as run:
        run.wait_for_samples(2)
        run.kill("ray::ShardMaker", random.Random(1))
        run.wait_for_samples(2)
        run.driver.send_signal(signal.SIGKILL)
        assert run.driver.wait() == -signal.SIGKILL
        run.check_processes_ended()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.nc")}
    assert 4 <= len(kept) < 40
    with started(job_file, folder) as run:
        assert run.wait() == (0, "")
    assert datasets.shards(folder) == datasets.shards(tmp_path / "undisturbed")
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.nc")}.items()
    assert not list(folder.glob(".tmp-*"))
