"""Delivery of SIGTERM to threads."""

from __future__ import annotations

import signal
import threading

from rayspin import signals


def blocked() -> bool:
    return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_sigterm_is_blocked_in_started_threads_only() -> None:
    blocked_in_thread: list[bool] = []
    thread = threading.Thread(target=lambda: blocked_in_thread.append(blocked()))
    signals.start(thread)
    thread.join()
    assert blocked_in_thread == [True]
    assert not blocked()


def test_held_sigterm_is_received_after_the_release() -> None:
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
