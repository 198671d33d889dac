"""The decisions of a scheduler depend only on the results, not on time, order of arrival or interruptions."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.ledger import Ledger
from rayspin.jobs.tune.outcomes import Failed, Finished
from rayspin.jobs.tune.population import PopulationScheduler
from rayspin.jobs.tune.schedulers import Asha, Halving, Segment
from rayspin.jobs.tune.search import Listed, Population, optuna_module
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.space import LogUniform, Values
from rayspin.jobs.tune.trials import Trial
from tests.support.damaged_lines import damaged_lines
from tests.support.schedulers import EPOCHS, MAKER, NOISE, play, trials


def loss(segment: Segment) -> float:
    """A loss that falls with the epochs to a minimum given by the noise of the trial; the curves do not cross."""
    return float(dict(segment.trial.point)[NOISE]) + 1 / segment.until


def test_a_course_without_stopping_runs_every_trial_to_its_end() -> None:
    ends = play(Halving(Listed(trials(10))), loss, 3, 0)
    assert [end[1:] for end in ends] == [(EPOCHS, "done")] * 10


def test_rungs_grow_by_the_reduction_up_to_the_whole_budget() -> None:
    assert Asha().rungs(27) == [1, 3, 9, 27]
    assert Asha(reduction=4, first=2).rungs(20) == [2, 8, 20]
    assert Asha(first=30).rungs(27) == [27]


@pytest.mark.parametrize("workers", [1, 2, 7, 40])
def test_halving_does_not_depend_on_workers_and_order_of_arrival(workers: int) -> None:
    reference = play(Halving(Listed(trials(40)), Asha()), loss, 1, 0)
    for seed in range(5):
        assert play(Halving(Listed(trials(40)), Asha()), loss, workers, seed) == reference


def test_halving_keeps_the_best_and_saves_most_of_the_epochs() -> None:
    ends = play(Halving(Listed(trials(81)), Asha()), loss, 4, 1)
    by_name = {name: (until, end) for name, until, end in ends}
    best = min(trials(81), key=lambda trial: dict(trial.point)[NOISE])
    assert by_name[best.name] == (EPOCHS, "done")
    spent = sum(until for _, until, _ in ends)
    assert spent < 81 * EPOCHS / 4
    # In a random order, the ranks among the earlier trials are independent: trial n passes with probability
    # ceil(n/3) / n.
    chances = np.ceil(np.arange(1, 82) / 3) / np.arange(1, 82)
    passed = sum(until > 1 for _, until, _ in ends)
    assert abs(passed - chances.sum()) < 4 * math.sqrt((chances * (1 - chances)).sum())


def test_more_trials_change_no_earlier_decision() -> None:
    all_of_them = trials(60)
    few = play(Halving(Listed(all_of_them[:25]), Asha()), loss, 3, 2)
    assert play(Halving(Listed(all_of_them), Asha()), loss, 5, 3)[:25] == few


def test_a_failed_trial_leaves_the_others_as_they_are() -> None:
    everything = trials(20)
    # A noise amplitude that no other trial has.
    poison = MAKER.trial(((NOISE, 100.0),))
    with_poison = [*everything[:10], poison, *everything[10:]]

    def value(segment: Segment) -> float | None:
        return None if segment.trial is poison else loss(segment)

    ends = play(Halving(Listed(with_poison), Asha()), value, 4, 0)
    assert [end for end in ends if end[0] != poison.name] == play(Halving(Listed(everything), Asha()), loss, 4, 0)
    assert [end[1:] for end in ends if end[0] == poison.name] == [(1, "failed")]


def test_without_optuna_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match=r"Optuna is not installed; pip install 'rayspin\[optuna\]'"):
        optuna_module()


def population(branched: list[tuple[str, str, int]], members: int = 8) -> PopulationScheduler:
    search = Population(method="population", members=members, interval=9)
    space = {
        "training.learning_rate": LogUniform(log_uniform=(1e-4, 1.0)),
        "training.batch_size": Values(values=(2, 4, 8)),
    }
    return PopulationScheduler(
        search, space, MAKER, lambda child, parent, epochs: branched.append((child.name, parent.name, epochs))
    )


def rate_loss(segment: Segment) -> float:
    return abs(math.log10(dict(segment.trial.point)["training.learning_rate"]) + 2)


def test_a_population_replaces_its_worst_by_branches_of_its_best() -> None:
    branched: list[tuple[str, str, int]] = []
    scheduler = population(branched)
    first = [s.trial for s in scheduler.trial_states()]
    ends = play(scheduler, rate_loss, 3, 0)
    assert [epochs for *_, epochs in branched] == [9, 9, 18, 18]
    ranked = sorted(first, key=lambda trial: rate_loss(Segment(0, trial, 9)))
    assert {parent for _, parent, _ in branched[:2]} == {trial.name for trial in ranked[:2]}
    stopped = [name for name, until, end in ends if end == "stopped" and until == 9]
    assert set(stopped) == {trial.name for trial in ranked[-2:]}
    assert sum(end == "done" for *_, end in ends) == 8
    for state in scheduler.trial_states()[8:]:
        point = dict(state.trial.point)
        assert 1e-4 <= point["training.learning_rate"] <= 1
        assert point["training.batch_size"] in (2, 4, 8)


def test_a_population_does_not_depend_on_workers_and_order_of_arrival() -> None:
    reference = play(population([]), rate_loss, 1, 0)
    for workers, seed in [(2, 0), (5, 1), (20, 2)]:
        assert play(population([]), rate_loss, workers, seed) == reference


def test_a_member_that_fails_gives_way_to_a_branch() -> None:
    branched: list[tuple[str, str, int]] = []
    scheduler = population(branched)
    poison = scheduler.trial_states()[3].trial.name
    ends = play(scheduler, lambda segment: None if segment.trial.name == poison else rate_loss(segment), 2, 0)
    assert [end for name, _, end in ends if name == poison] == ["failed"]
    assert sum(end == "done" for *_, end in ends) == 8
    assert len(branched) >= 4


# --- the queue: the scheduler replayed from a ledger ---


def result(segment: Segment) -> Finished:
    return Finished({"validation_loss": loss(segment)}, segment.until, 1.0, "here")


def queue(folder: Path, count: int = 12, **options: int) -> SegmentQueue:
    return SegmentQueue(Halving(Listed(trials(count)), Asha()), Ledger(folder), ("validation_loss", False), **options)


def table(played: SegmentQueue) -> list[tuple[str, int, str]]:
    return [(s.trial.name, s.until, s.end) for s in played.scheduler.trial_states()]


def test_a_sweep_that_is_killed_anywhere_runs_what_is_missing_and_ends_the_same(tmp_path: Path) -> None:
    whole = queue(tmp_path)
    run: list[tuple[str, int]] = []
    while (segment := whole.next()) is not None:
        run.append((segment.trial.name, segment.until))
        whole.take(segment, result(segment))
    ledger = (tmp_path / "trials.jsonl").read_bytes()
    chance = random.Random(1)
    for _ in range(20):
        # The sweep is killed at an arbitrary byte of the ledger.
        folder = tmp_path / "killed"
        folder.mkdir(exist_ok=True)
        (folder / "trials.jsonl").write_bytes(ledger[: chance.randrange(len(ledger))])
        known = {(name, until) for name, until in Ledger(folder).order}
        resumed = queue(folder)
        again = []
        while (segment := resumed.next()) is not None:
            again.append((segment.trial.name, segment.until))
            resumed.take(segment, result(segment))
        assert table(resumed) == table(whole)
        assert not known & set(again)
        assert known | set(again) == set(run)
        reread = Ledger(folder)
        assert {name: entry.results for name, entry in reread.trials.items()} == {
            name: entry.results for name, entry in whole.ledger.trials.items()
        }
        assert [reread.trials[name].ended for name, *_ in table(whole)] == [end for *_, end in table(whole)]


def test_a_sweep_does_again_what_a_damaged_line_said(tmp_path: Path) -> None:
    whole = queue(tmp_path)
    while (segment := whole.next()) is not None:
        whole.take(segment, result(segment))
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    damaged = [
        (number, text)
        for number, entry in enumerate(entries)
        for text in damaged_lines(entry, *(key for key in entry if key != "host"))
    ]
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number, text in random.Random(1).sample(damaged, 100):
        changed = [*lines[:number], text, *lines[number + 1 :], "{}", '{"event": "result", "trial": "x"}']
        (folder / "trials.jsonl").write_text("".join(line + "\n" for line in changed))
        resumed = queue(folder)
        while (segment := resumed.next()) is not None:
            resumed.take(segment, result(segment))
        assert table(resumed) == table(whole)


def test_a_failure_is_tried_again_by_rule_and_then_told(tmp_path: Path) -> None:
    played = queue(tmp_path, 3, retries=2)
    tries: dict[str, int] = {}
    bad, worse = [trial.name for trial in trials(3)][:2]
    while (segment := played.next()) is not None:
        tries[segment.trial.name] = tries.get(segment.trial.name, 0) + 1
        if segment.trial.name in (bad, worse):
            failure = Failed("ValueError: no", segment.trial.name == worse, 0.1, "here")
            played.take(segment, failure)
        else:
            played.take(segment, result(segment))
    assert (tries[bad], tries[worse]) == (3, 1)
    entry = Ledger(tmp_path).trials[bad]
    assert (entry.ended, entry.error) == ("failed", "ValueError: no")
    # A new run retries only the failed trials.
    again = queue(tmp_path, 3)
    out = []
    while (segment := again.next()) is not None:
        out.append(segment.trial.name)
        again.take(segment, result(segment))
    assert set(out) == {bad, worse}
    assert Ledger(tmp_path).trials[bad].error == ""


def test_segment_runs_again_three_times_after_the_loss_of_its_worker(tmp_path: Path) -> None:
    played = queue(tmp_path, 3, retries=0)
    unlucky, fatal = [trial.name for trial in trials(3)][:2]
    tries: Counter[str] = Counter()
    while (segment := played.next()) is not None:
        name = segment.trial.name
        tries[name] += 1
        if name == fatal or (name == unlucky and tries[name] <= 3):
            played.lost(segment)
        else:
            played.take(segment, result(segment))
    assert tries[fatal] == 4
    entries = Ledger(tmp_path).trials
    assert entries[fatal].error == "its worker was lost 4 times (possibly out of memory or a crash)"
    assert (entries[fatal].ended, entries[unlucky].error) == ("failed", "")


def test_a_trial_that_is_asked_for_twice_runs_once(tmp_path: Path) -> None:
    twice = [*trials(3), trials(3)[0]]
    played = SegmentQueue(Halving(Listed(twice)), Ledger(tmp_path), ("validation_loss", False))
    segments = []
    while (segment := played.next()) is not None:
        segments.append(segment)
    assert len(segments) == 3
    for segment in segments:
        played.take(segment, result(segment))
    assert played.ended
    assert [s.end for s in played.scheduler.trial_states()] == ["done"] * 4


def test_an_unknown_metric_is_named_with_the_first_result(tmp_path: Path) -> None:
    played = SegmentQueue(Halving(Listed(trials(2))), Ledger(tmp_path), ("validation_los", False))
    segment = played.next()
    assert segment is not None
    with pytest.raises(InputError, match="no trial reports 'validation_los'; did you mean 'validation_loss'"):
        played.take(segment, result(segment))


def test_the_most_is_best_where_the_goal_says_so(tmp_path: Path) -> None:
    played = SegmentQueue(Halving(Listed(trials(9)), Asha()), Ledger(tmp_path), ("validation_loss", True))
    while (segment := played.next()) is not None:
        played.take(segment, result(segment))
    done = [s.trial for s in played.scheduler.trial_states() if s.end == "done"]
    assert max(trials(9), key=lambda trial: dict(trial.point)[NOISE]).name in {trial.name for trial in done}


def test_a_larger_space_comes_after_what_is_there(tmp_path: Path) -> None:
    from rayspin.jobs.tune.job import _in_order

    def grid(noise: list[float]) -> list[Trial]:
        space = {"network.scale": [4, 8], NOISE: noise}
        return Tune.model_validate({"base": MAKER.base, "space": space}).trials()

    ledger = Ledger(tmp_path)
    ledger.plan(grid([0.0, 0.2]))
    larger = _in_order(grid([0.0, 0.1, 0.2]), ledger)
    assert [t.name for t in larger[:4]] == [t.name for t in grid([0.0, 0.2])]
    assert {t.name for t in larger} == {t.name for t in grid([0.0, 0.1, 0.2])}
