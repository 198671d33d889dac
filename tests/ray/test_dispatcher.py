"""The dispatcher: every item once, poison set aside, lost actors replaced and never charged to the item."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import ray.cloudpickle

from rayspin.errors import MachineError, RunError
from rayspin.execution import dispatcher, work_queue
from rayspin.execution.dispatcher import dispatch
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import Unfinished, Worker

# Actors can't import test modules: the class travels by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Trouble(Worker[str, int]):
    """Squares numbers; some items raise, always or once; some kill their process: always, a few times, in pairs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, item: str) -> int:
        kind, _, number = item.partition(" ")
        tries = self._folder / item
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        times = len(tries.read_text())
        if kind == "poison" or (kind == "hiccup" and times == 1):
            raise ValueError(f"no {number}")
        # Were a lost process charged to its item, this one would be set aside.
        if kind == "kill" and times <= work_queue.ATTEMPTS:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "together" and times == 1:
            while len(list(self._folder.glob("together *"))) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return int(number) ** 2


@pytest.mark.parametrize("call_s", [0.0, 60.0], ids=["an item a call", "many items a call"])
def test_every_item_is_done_once_whatever_happens_to_the_actors(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    monkeypatch.setattr(dispatcher, "CALL_S", call_s)
    items = [f"plain {n}" for n in range(12)] + ["poison 12", "kill 13", "hiccup 14", "kill 15", "poison 16"]
    items += [f"plain {n}" for n in range(17, 40)]
    results: dict[str, int] = {}

    def keep(item: str, result: int) -> None:
        assert item not in results
        results[item] = result

    outcome = dispatch(ray_session, StopRequest(), Trouble, (tmp_path,), items, keep)
    set_aside = outcome.failed
    assert outcome.remaining == []
    assert {failure.item for failure in set_aside} == {"poison 12", "poison 16"}
    assert set_aside[0].error.startswith("ValueError: no 1")
    assert "in work" in set_aside[0].trace
    assert results == {item: int(item.split()[1]) ** 2 for item in items if not item.startswith("poison")}
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    least = {
        item: {"plain": 1, "poison": work_queue.ATTEMPTS, "kill": work_queue.ATTEMPTS + 1, "hiccup": 2}[item.split()[0]]
        for item in items
    }
    if call_s:
        # More where an item shared its call with one that raised or killed.
        assert all(tries[item] >= least[item] for item in items)
    else:
        assert tries == least


class Bundles(Worker[int, int]):
    """Tells of each item how many came with it in its call; negative ones take longer than a call should."""

    def work_through(self, items: Sequence[int]) -> Sequence[int]:
        self._together = len(items)
        return super().work_through(items)

    def work(self, item: int) -> int:
        time.sleep(1.5 * work_queue.CALL_S if item < 0 else 0)
        return self._together


def test_short_items_share_calls_and_long_ones_have_one_each(ray_session: Session) -> None:
    together: dict[int, int] = {}

    def keep(item: int, count: int) -> None:
        together[item] = count

    dispatch(ray_session, StopRequest(), Bundles, (), [-n for n in range(1, 7)], keep)
    assert together == dict.fromkeys(range(-6, 0), 1)
    dispatch(ray_session, StopRequest(), Bundles, (), range(1000), keep)
    assert sum(1 / together[item] for item in range(1000)) < 300


def test_a_call_ends_with_its_time_or_before_an_item_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Trouble(tmp_path)
    assert worker.work_through(["plain 1", "plain 2", "poison 3", "plain 4"]) == [1, 4]
    with pytest.raises(ValueError, match="no 3"):
        worker.work_through(["poison 3", "plain 4"])
    monkeypatch.setattr(work_queue, "CALL_S", -1.0)
    assert worker.work_through(["plain 1", "plain 2"]) == [1]


class Unmakeable(Trouble):
    def __init__(self, folder: Path) -> None:
        raise ImportError("no such library on this node")


def test_an_actor_that_cannot_start_says_why_at_once(ray_session: Session, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"can't start \(.*ImportError: no such library on this node"):
        dispatch(ray_session, StopRequest(), Unmakeable, (tmp_path,), ["plain 1"], lambda *_: None)


def test_a_machine_that_only_loses_actors_is_given_up(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_queue, "LOST_IN_A_ROW", 3)
    with pytest.raises(RunError, match="3 lost in a row without a result"):
        dispatch(ray_session, StopRequest(), Trouble, (tmp_path,), ["deadly 1", "deadly 2"], lambda *_: None)


def test_a_node_that_takes_all_of_its_actors_with_it_is_one_misfortune(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_queue, "LOST_IN_A_ROW", 2)
    items = ["plain 1", "plain 2", "together 3", "together 4", "plain 5"]
    results: list[int] = []
    outcome = dispatch(
        ray_session, StopRequest(), Trouble, (tmp_path,), items, lambda _, result: results.append(result)
    )
    assert outcome == Unfinished([], [])
    assert sorted(results) == [1, 4, 9, 16, 25]


class Idle:
    """Takes up a CPU."""

    def here(self) -> None:
        pass


@pytest.mark.timeout(60)
def test_whoever_has_nothing_left_to_do_makes_room_for_who_waits(ray_session: Session, tmp_path: Path) -> None:
    """After the loss of nodes there are more actors than CPUs: here two for one."""
    holder = ray_session.ray().remote(Idle).options(num_cpus=1).remote()
    ray_session.ray().get(holder.here.remote())
    results: list[int] = []
    outcome = dispatch(
        ray_session, StopRequest(), Trouble, (tmp_path,), ["plain 1", "plain 2", "plain 3"],
        lambda _, result: results.append(result),
    )  # fmt: skip
    assert outcome == Unfinished([], [])
    assert sorted(results) == [1, 4, 9]
    ray_session.ray().kill(holder)


class Late(Worker[float, float]):
    """Sleeps so many seconds, then leaves a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, item: float) -> float:
        time.sleep(item)
        (self._folder / f"{item}").touch()
        return item


def test_a_full_disk_here_lets_what_is_in_flight_end_too(ray_session: Session, tmp_path: Path) -> None:
    def full(_item: float, _result: float) -> None:
        raise MachineError("here", "No space left on device", "make room")

    with pytest.raises(MachineError, match="here: No space left"):
        dispatch(ray_session, StopRequest(), Late, (tmp_path,), [0.1, 3.0, 0.2], full)
    assert {path.name for path in tmp_path.iterdir()} == {"0.1", "3.0"}


def test_nothing_to_do_starts_nothing(ray_session: Session, tmp_path: Path) -> None:
    assert dispatch(ray_session, StopRequest(), Trouble, (tmp_path,), [], lambda *_: None) == Unfinished([], [])


def test_a_stop_lets_what_is_in_flight_end_and_leaves_the_rest(ray_session: Session, tmp_path: Path) -> None:
    stop = StopRequest()
    items = [f"plain {n}" for n in range(20)]
    done: list[str] = []

    def first_result_stops(item: str, _result: int) -> None:
        if not done:
            stop._handle_signal(signal.SIGUSR2, None)
        done.append(item)

    outcome = dispatch(ray_session, stop, Trouble, (tmp_path,), items, first_result_stops)
    # Two actors: the one that ended first, and the one that was at work.
    assert len(done) == 2
    assert sorted(done + outcome.remaining) == sorted(items)
    assert stop.incomplete("here", "2 of 20").exit_code == 75
