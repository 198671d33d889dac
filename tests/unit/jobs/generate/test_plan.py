"""Plans of datasets: remaining work, usable number of cores, and cost of additional samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rayspin import job
from rayspin.cli import main
from rayspin.job import Context, Plan
from tests.support import datasets

SMALL = datasets.labyrinths(22, 16, shard_samples=4)


def test_walltime_goes_by_whole_shards(tmp_path: Path) -> None:
    plan = job.plan(SMALL, tmp_path / "data")
    assert plan.pieces == 6
    # Spins, and the number, energy and split of each sample.
    assert plan.bytes == 22 * (16 * 16 * 3 * 4 + 8 + 8 + 1)
    assert plan.core_seconds > 0
    rounds = {1: 6, 2: 3, 4: 2, 6: 1, 1000: 1}
    for cores, times in rounds.items():
        assert plan.seconds_on(cores) == pytest.approx(plan.core_seconds * times / 6)


def test_a_finished_dataset_says_what_more_would_cost(tmp_path: Path) -> None:
    job.run(SMALL, tmp_path / "data", Context(), shards="0:2")
    assert job.plan(SMALL, tmp_path / "data").figures["samples"] == "22 of 16 x 16, 8 done"
    job.run(SMALL, tmp_path / "data", Context(), shards="1/1")
    plan = job.plan(SMALL, tmp_path / "data")
    assert plan.core_seconds == plan.bytes == 0
    hours, megabytes = plan.figures["each additional 1000 samples"].split(" core-hours, ")
    assert 0 < float(hours) < 1
    assert megabytes.startswith("3.1 MB")


def test_nodes_are_asked_for_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(job.to_toml(SMALL))
    arguments = ["plan", str(tmp_path / "job.toml"), "--out", str(tmp_path / "data"), "--nodes", "1,2"]
    told = CliRunner().invoke(main, [*arguments, "--cores-per-node", "8"])
    assert told.exit_code == 0, told.output
    assert "time on 2 nodes (16 cores)" in told.stdout
    assert "10 cores stay idle" in told.stdout
    assert CliRunner().invoke(main, [*arguments, "--cores-per-node", "0"]).exit_code == 2


@pytest.mark.parametrize("nodes", ["", "0", "1,", "2,x", "-1", "1.5", "99999999999"])
def test_numbers_of_nodes_are_whole_and_above_zero(tmp_path: Path, nodes: str) -> None:
    (tmp_path / "job.toml").write_text(job.to_toml(SMALL))
    told = CliRunner().invoke(main, ["plan", str(tmp_path / "job.toml"), "--nodes", nodes])
    assert told.exit_code == 2
    assert "give numbers above 0, such as 1,16,256" in told.output


def test_stages_of_a_pipeline_take_the_sum_of_their_times() -> None:
    parts = {"wide": Plan("generate", {}, 100.0, pieces=100), "narrow": Plan("tune", {}, 60.0, pieces=2)}
    plan = Plan("pipeline", {}, 160.0, parts=parts)
    assert [plan.seconds_on(cores) for cores in (1, 2, 10, 1000)] == [160.0, 80.0, 40.0, 31.0]
