"""Commands report damaged and foreign files in run folders in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayspin.claims import claim
from rayspin.cli import main
from rayspin.errors import InputError, RunError
from rayspin.jobs.generate.job import make_here
from rayspin.jobs.train.job import TrainFcn
from rayspin.launch.events import Lost, read_events
from rayspin.launch.submissions import RECORD, Part, Submission
from rayspin.models import EffectiveFieldNetConfig, save_weights, weights_info
from rayspin.rundir import RunDir, Summary
from rayspin.training import read_metrics
from tests.support import datasets

pytestmark = pytest.mark.timeout(60)

SMALL = datasets.labyrinths(4, 16, schedule={"sweeps": 5, "quench_sweeps": 5}, splits={"test": 1, "validation": 1})


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def replace_by_fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("command", ["show", "status"])
@pytest.mark.parametrize(
    "text",
    ["x = [", 'kind = "generate"', "x = 1", "x = " + "[" * 500 + "]" * 500, "\0", 'kind = "pipeline"\nstages = 1'],
)
def test_damaged_job_file_is_a_one_line_error(tmp_path: Path, command: str, text: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "job.toml").write_text(text)
    if command == "show" and 'kind = "generate"' in text:
        # `show` reads only the kind of a job, and the stages of a pipeline.
        assert CliRunner().invoke(main, ["show", str(folder)]).exit_code == 0
    else:
        assert f"{folder}/job.toml: " in refusal(command, folder)


@pytest.mark.parametrize("command", ["show", "status"])
def test_pipe_instead_of_a_job_file_does_not_block(tmp_path: Path, command: str) -> None:
    replace_by_fifo(tmp_path / "job.toml")
    assert "job.toml: is a pipe" in refusal(command, tmp_path)


def test_job_file_without_a_required_key_is_a_one_line_error(tmp_path: Path) -> None:
    with RunDir.at(tmp_path).claimed(SMALL.identity()):
        make_here(SMALL, tmp_path)
    ledger = tmp_path / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    # The job is removed from the ledger, too.
    (tmp_path / "job.toml").write_text((tmp_path / "job.toml").read_text().replace("seed =", "sead ="))
    from rayspin.rundir import write_text
    from rayspin.storage.ledger import append

    write_text(ledger, "")
    for entry in entries:
        if "first_sample" in entry:
            append(ledger, {key: value for key, value in entry.items() if key not in {"crc32", "entered"}})
    assert "job.toml: seed: missing key; add it" in refusal("show", tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"title": ' + "1" * 5_000 + "}", '{"title": "x", "figures": []}', "[1]", '{"title": "x"}'],
    ids=lambda text: text[:20],
)
def test_run_with_an_invalid_summary_is_unfinished(tmp_path: Path, text: str) -> None:
    job = {"kind": "train-fcn"}
    with RunDir.at(tmp_path).claimed(job):
        (tmp_path / "summary.json").write_text(text)
    assert RunDir.at(tmp_path).finished(job) is None
    assert CliRunner().invoke(main, ["show", str(tmp_path)]).exit_code == 0


def test_summary_with_numbers_as_figures_is_shown(tmp_path: Path) -> None:
    job = {"kind": "train-fcn"}
    run = RunDir.at(tmp_path)
    with run.claimed(job):
        run.finish(Summary("a", {"b": 1, "c": [2]}))  # type: ignore[dict-item]
    assert run.finished(job) == Summary("a", {"b": "1", "c": "[2]"})
    assert CliRunner().invoke(main, ["show", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize("facts", ["[" * 10_000, '{"network": ' + "1" * 5_000 + "}", "[]", '{"network": "x"}'])
def test_weights_with_foreign_metadata_are_a_one_line_error(tmp_path: Path, facts: str) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"rayspin": facts})
    assert "is not a rayspin weight file" in refusal("show", path)


def test_provenance_and_paths_with_brackets_are_shown_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "x [2].safetensors"
    network = EffectiveFieldNetConfig(encoder_filters=(2, 2), decoder_filters=(2, 2)).build()
    save_weights(path, network, {"data": {"dataset": "m [/2] [bold]"}})
    assert weights_info(path)["provenance"] == {"data": {"dataset": "m [/2] [bold]"}}
    result = CliRunner().invoke(main, ["show", str(path)])
    assert result.exit_code == 0, result.output
    assert "m [/2] [bold]" in result.stdout


def test_status_shows_a_failed_setup_with_brackets_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "run [/2]"
    submission_folder = folder / "submissions" / "001"
    submission_folder.mkdir(parents=True)
    (submission_folder / "log").write_text("module load [/x]: unknown [bold]\n")
    Submission(
        submission_folder, "local", 1e9, (Part("999999999", submission_folder, submission_folder / "log"),)
    ).write()
    result = CliRunner().invoke(main, ["status", str(folder)])
    assert result.exit_code == 0, result.output
    assert "it never started: module load [/x]: unknown [bold]" in " ".join(result.stdout.split())


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": "slurm"}', "[" * 5_000, '{"parts": [{}]}'])
@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_damaged_record_of_a_submission_is_a_one_line_error(tmp_path: Path, command: str, text: str) -> None:
    record = tmp_path / "submissions" / "001" / RECORD
    record.parent.mkdir(parents=True)
    record.write_text(text)
    assert str(record) in refusal(command, tmp_path)


def test_invalid_events_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(
        '{"a": 1}\n{"time": 1, "event": "lost", "host": "n1"}\n{"time": 1, "event": "lost"}\n[]\n'
    )
    assert read_events(tmp_path) == [Lost(host="n1")]


def test_damaged_metrics_file_is_a_one_line_error(tmp_path: Path) -> None:
    job = TrainFcn.model_validate({"dataset": "data"})
    with RunDir.at(tmp_path).claimed(job.identity()):
        (tmp_path / "metrics.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=r"metrics.jsonl: not valid JSON"):
        read_metrics(tmp_path)
    assert "metrics.jsonl" in refusal("status", tmp_path)


def test_symbolic_link_as_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="Too many levels of symbolic links"), claim(tmp_path / "run"):
        pass
    with (
        pytest.raises(RunError, match="check which file was replaced by a symbolic link"),
        RunDir.at(tmp_path / "run").claimed({"kind": "train-fcn"}),
    ):
        pass
    assert not (tmp_path / "target").exists()


def test_pipes_instead_of_notes_do_not_block_status(tmp_path: Path) -> None:
    with RunDir.at(tmp_path).claimed(SMALL.identity()):
        make_here(SMALL, tmp_path)
        for name in (".holder-n1-1-abcdef", ".tmp-making-n1-1"):
            replace_by_fifo(tmp_path / name)
        (tmp_path / ".holder-n2-1-abcdef").write_text("[" * 4_000)
        result = CliRunner().invoke(main, ["status", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert "running: process" in result.stdout
