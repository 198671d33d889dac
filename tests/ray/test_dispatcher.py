"""The dispatcher returns each result once, reports items that raise, and replaces lost actors."""

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

# Actors can't import test modules, so the classes are pickled by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Faulty(Worker[str, int]):
    """Square numbers. Depending on the kind of an item, `work` raises or kills its process, always or at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, item: str) -> int:
        kind, _, number = item.partition(" ")
        attempts = self._folder / item
        attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
        count = len(attempts.read_text())
        if kind == "poison" or (kind == "hiccup" and count == 1):
            raise ValueError(f"no {number}")
        # This item would fail if lost processes counted as attempts.
        if kind == "kill" and count <= work_queue.ATTEMPTS:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "together" and count == 1:
            while len(list(self._folder.glob("together *"))) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return int(number) ** 2


@pytest.mark.parametrize("call_s", [0.0, 60.0], ids=["one item per call", "many items per call"])
def test_each_item_is_done_once_although_actors_fail(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    monkeypatch.setattr(dispatcher, "CALL_S", call_s)
    items = [f"plain {n}" for n in range(12)] + ["poison 12", "kill 13", "hiccup 14", "kill 15", "poison 16"]
    items += [f"plain {n}" for n in range(17, 40)]
    results: dict[str, int] = {}

    def keep(item: str, result: int) -> None:
        assert item not in results
        results[item] = result

    outcome = dispatch(ray_session, StopRequest(), Faulty, (tmp_path,), items, keep)
    failed = outcome.failed
    assert outcome.remaining == []
    assert {failure.item for failure in failed} == {"poison 12", "poison 16"}
    assert failed[0].error.startswith("ValueError: no 1")
    assert "in work" in failed[0].trace
    assert results == {item: int(item.split()[1]) ** 2 for item in items if not item.startswith("poison")}
    attempts = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    least = {
        item: {"plain": 1, "poison": work_queue.ATTEMPTS, "kill": work_queue.ATTEMPTS + 1, "hiccup": 2}[item.split()[0]]
        for item in items
    }
    if call_s:
        # An item is repeated if another item of its call raised or killed the process.
        assert all(attempts[item] >= least[item] for item in items)
    else:
        assert attempts == least


class CallSizes(Worker[int, int]):
    """Return for each item the number of items in its call. Negative items take longer than the time of a call."""

    def work_through(self, items: Sequence[int]) -> Sequence[int]:
        self._call_size = len(items)
        return super().work_through(items)

    def work(self, item: int) -> int:
        time.sleep(1.5 * work_queue.CALL_S if item < 0 else 0)
        return self._call_size


def test_short_items_share_calls_and_long_items_do_not(ray_session: Session) -> None:
    call_sizes: dict[int, int] = {}

    def keep(item: int, count: int) -> None:
        call_sizes[item] = count

    dispatch(ray_session, StopRequest(), CallSizes, (), [-n for n in range(1, 7)], keep)
    assert call_sizes == dict.fromkeys(range(-6, 0), 1)
    dispatch(ray_session, StopRequest(), CallSizes, (), range(1000), keep)
    assert sum(1 / call_sizes[item] for item in range(1000)) < 300


def test_call_ends_after_its_time_or_before_an_item_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Faulty(tmp_path)
    assert worker.work_through(["plain 1", "plain 2", "poison 3", "plain 4"]) == [1, 4]
    with pytest.raises(ValueError, match="no 3"):
        worker.work_through(["poison 3", "plain 4"])
    monkeypatch.setattr(work_queue, "CALL_S", -1.0)
    assert worker.work_through(["plain 1", "plain 2"]) == [1]


class FaultyConstructor(Faulty):
    """A worker whose constructor fails."""

    def __init__(self, folder: Path) -> None:
        raise ImportError("no such library on this node")


def test_error_in_the_constructor_of_an_actor_is_reported(ray_session: Session, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"can't start \(.*ImportError: no such library on this node"):
        dispatch(ray_session, StopRequest(), FaultyConstructor, (tmp_path,), ["plain 1"], lambda *_: None)


def test_dispatch_fails_after_repeated_losses_without_a_result(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_queue, "LOST_IN_A_ROW", 3)
    with pytest.raises(RunError, match="3 lost in a row without a result"):
        dispatch(ray_session, StopRequest(), Faulty, (tmp_path,), ["deadly 1", "deadly 2"], lambda *_: None)


def test_simultaneous_losses_of_actors_count_as_one(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_queue, "LOST_IN_A_ROW", 2)
    items = ["plain 1", "plain 2", "together 3", "together 4", "plain 5"]
    results: list[int] = []
    outcome = dispatch(ray_session, StopRequest(), Faulty, (tmp_path,), items, lambda _, result: results.append(result))
    assert outcome == Unfinished([], [])
    assert sorted(results) == [1, 4, 9, 16, 25]


class Idle:
    """Occupy a CPU."""

    def ready(self) -> None:
        pass


@pytest.mark.timeout(60)
def test_idle_actors_release_their_cpus(ray_session: Session, tmp_path: Path) -> None:
    """There may be more actors than CPUs after nodes were lost. In this test there are two actors for one CPU."""
    holder = ray_session.ray().remote(Idle).options(num_cpus=1).remote()
    ray_session.ray().get(holder.ready.remote())
    results: list[int] = []
    outcome = dispatch(
        ray_session, StopRequest(), Faulty, (tmp_path,), ["plain 1", "plain 2", "plain 3"],
        lambda _, result: results.append(result),
    )  # fmt: skip
    assert outcome == Unfinished([], [])
    assert sorted(results) == [1, 4, 9]
    ray_session.ray().kill(holder)


class Sleeper(Worker[float, float]):
    """Sleep for `item` seconds, then write a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work(self, item: float) -> float:
        time.sleep(item)
        (self._folder / f"{item}").touch()
        return item


def test_items_in_progress_finish_after_an_error_of_the_driver(ray_session: Session, tmp_path: Path) -> None:
    def full(_item: float, _result: float) -> None:
        raise MachineError("here", "No space left on device", "make room")

    with pytest.raises(MachineError, match="here: No space left"):
        dispatch(ray_session, StopRequest(), Sleeper, (tmp_path,), [0.1, 3.0, 0.2], full)
    assert {path.name for path in tmp_path.iterdir()} == {"0.1", "3.0"}


def test_dispatch_without_items_returns_at_once(ray_session: Session, tmp_path: Path) -> None:
    assert dispatch(ray_session, StopRequest(), Faulty, (tmp_path,), [], lambda *_: None) == Unfinished([], [])


def test_items_in_progress_finish_after_a_stop_and_others_remain(ray_session: Session, tmp_path: Path) -> None:
    stop = StopRequest()
    items = [f"plain {n}" for n in range(20)]
    done: list[str] = []

    def first_result_stops(item: str, _result: int) -> None:
        if not done:
            stop._handle_signal(signal.SIGUSR2, None)
        done.append(item)

    outcome = dispatch(ray_session, stop, Faulty, (tmp_path,), items, first_result_stops)
    # There are two actors. One returns the first result, and the other one has an item in progress.
    assert len(done) == 2
    assert sorted(done + outcome.remaining) == sorted(items)
    assert stop.incomplete("here", "2 of 20").exit_code == 75
