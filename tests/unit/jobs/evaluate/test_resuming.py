"""An evaluation that was stopped repeats no finished share, and takes no result of other weights or data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayspin import job
from rayspin.config import build
from rayspin.errors import Incomplete
from rayspin.jobs.evaluate import job as evaluate
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.jobs.evaluate.ledger import NAME, MeasuredShare, ShareLedger, progress
from rayspin.jobs.stage import Context, execute
from rayspin.rundir import RunDir
from tests.support.damaged_lines import damaged_lines
from tests.support.dispatcher import Dispatcher

SHARES = [(0, 2), (2, 2), (4, 2)]


@pytest.fixture
def dispatcher(monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    made = Dispatcher()
    monkeypatch.setattr(evaluate, "dispatch", made)
    monkeypatch.setattr(EvaluateFcn, "share_samples", 2)
    return made


def evaluation(dataset: Path, weights: Path) -> EvaluateFcn:
    return build(EvaluateFcn, {"dataset": str(dataset), "weights": str(weights), "iterations": 1}, "")


def test_a_resumed_run_does_what_is_missing_and_ends_as_one_that_was_not_stopped(
    dispatcher, field_dataset, field_weights, tmp_path
):
    stage = evaluation(field_dataset, field_weights())
    whole, parts = RunDir.at(tmp_path / "whole"), RunDir.at(tmp_path / "parts")
    summary = execute(stage, whole, Context())
    assert dispatcher.done == SHARES

    dispatcher.done, dispatcher.most = [], 1
    for share in SHARES[:2]:
        with pytest.raises(Incomplete, match="of 6 samples done"):
            execute(stage, parts, Context())
        assert dispatcher.done.pop() == share
    assert progress(parts, {}) == {"samples": "4 of all done"}
    # A process that was killed leaves part of a line, which is no result. Nor are damaged lines.
    (line, _) = (parts.path / NAME).read_text().splitlines()
    with (parts.path / NAME).open("a") as stream:
        for damaged in damaged_lines(json.loads(line) | {"first": 4}, "first", "count", "digest", "columns", "rows"):
            stream.write(damaged + "\n")
        stream.write('{"first": 4, "count": 2, "dig')
    assert progress(parts, {}) == {"samples": "4 of all done"}
    assert execute(stage, parts, Context()) == summary
    assert dispatcher.done == [SHARES[2]]
    for name in ("estimation.csv", "fields.png", "estimation.png"):
        assert (parts.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_all_shares_done_need_no_session(dispatcher, field_dataset, field_weights, tmp_path, monkeypatch):
    stage, run = evaluation(field_dataset, field_weights()), RunDir.at(tmp_path / "run")
    execute(stage, run, Context())
    run.summary_file.unlink()
    monkeypatch.setattr(evaluate, "dispatch", None)
    execute(stage, run, Context())


def test_a_finished_run_draws_its_figures_in_further_formats_from_its_results(
    dispatcher, field_dataset, field_weights, tmp_path, monkeypatch
):
    stage = evaluation(field_dataset, field_weights())
    summary = job.run(stage, tmp_path, Context())
    before = {name: (tmp_path / name).read_bytes() for name in ("job.toml", "estimation.png")}
    monkeypatch.setattr(evaluate, "dispatch", None)
    assert job.run(stage, tmp_path, Context(figures=("pdf", "svg"))) == summary
    for name in ("estimation", "fields"):
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert b"<svg" in (tmp_path / f"{name}.svg").read_bytes()
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    # Once they are there, nothing is drawn again, whatever is asked for.
    monkeypatch.setattr(EvaluateFcn, "conclude", None)
    for formats in ((), ("svg",)):
        assert job.run(stage, tmp_path, Context(figures=formats)) == summary


def test_results_of_weights_that_were_replaced_are_not_used(dispatcher, field_dataset, field_weights, tmp_path):
    weights, other = field_weights(1), field_weights(2)
    stage, run = evaluation(field_dataset, weights), RunDir.at(tmp_path / "run")
    dispatcher.most = 2
    with pytest.raises(Incomplete):
        execute(stage, run, Context())
    weights.write_bytes(other.read_bytes())
    dispatcher.done, dispatcher.most = [], 100
    execute(stage, run, Context())
    assert dispatcher.done == SHARES


def test_rows_come_back_as_they_were_entered(tmp_path):
    ledger = ShareLedger(tmp_path, "a")
    rows = [
        {"sample": 0, "estimator": "exact", "energy": -2.0416666666666665},
        {"sample": 1, "estimator": "network", "energy": 0.1},
    ]
    ledger.append((0, 2), MeasuredShare(rows, 0.5))
    ledger.append((2, 1), MeasuredShare([{"x": 1.0}], 0.5))
    assert ledger.read() == {(0, 2): rows, (2, 1): [{"x": 1.0}]}
    assert ShareLedger(tmp_path, "b").read() == {}
