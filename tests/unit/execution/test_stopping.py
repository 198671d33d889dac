"""Stop requests by signals and deadlines: work that can drain finishes its items, other work ends at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from rayspin.errors import Incomplete
from rayspin.execution.stopping import StopRequest, interruptible
from tests.support.runs import wait_until

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = {number: signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)}
    stop = StopRequest()
    stop.listen()
    yield stop
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_draining_work_records_a_signal_and_continues(stop: StopRequest, number: signal.Signals) -> None:
    with stop.draining():
        signal.raise_signal(number)
        assert stop.requested
    assert str(stop.incomplete("here", "2 of 4 shards done")) == (
        f"here: stopped by {number.name} with 2 of 4 shards done; run the same command again to resume"
    )


@pytest.mark.parametrize("number", NUMBERS)
def test_other_work_ends_at_once(stop: StopRequest, number: signal.Signals) -> None:
    with pytest.raises(Incomplete, match=f"stopped by {number.name}") as caught, interruptible():
        signal.raise_signal(number)
    assert caught.value.exit_code == 75


def test_second_request_ends_draining_work(stop: StopRequest) -> None:
    with stop.draining():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Incomplete, match="stopped by SIGINT"), interruptible():
            signal.raise_signal(signal.SIGINT)


def test_library_that_catches_exceptions_does_not_catch_a_stop(stop: StopRequest) -> None:
    """Ray Tune handles an exception in its loop as the failure of a trial, and continues."""

    def step() -> None:
        with contextlib.suppress(Exception):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Incomplete, match="stopped by SIGTERM"), interruptible():
        step()
    with stop.draining(), pytest.raises(Incomplete, match="stopped by SIGTERM"), interruptible():
        step()


def test_second_walltime_signal_is_ignored(stop: StopRequest) -> None:
    with stop.draining():
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
    with pytest.raises(Incomplete, match="stopped by SIGUSR2"):
        stop.heed()


def test_deadline_requests_a_stop_like_a_signal(stop: StopRequest) -> None:
    with stop.draining():
        stop.listen(deadline_s=0.01)
        wait_until(lambda: stop.requested)
    with pytest.raises(Incomplete, match="stopped by the deadline"):
        stop.heed()
