"""Which threads receive SIGTERM."""

from __future__ import annotations

import signal
import threading

from rayspin import signals


def blocked() -> bool:
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_thread_never_receives_it_and_its_starter_does() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(blocked()))
    signals.start(thread)
    thread.join()
    assert found == [True]
    assert not blocked()


def test_it_is_received_when_it_is_no_longer_held() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        signals.hold()
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
        assert received == []
        signals.release()
        assert received == [signal.SIGTERM]
    finally:
        signals.release()
        signal.signal(signal.SIGTERM, before)
