"""The greeting of nodes: what was overheard is of no use, and strangers hold nobody up. Over real sockets."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayspin.launch import rendezvous
from rayspin.launch.rendezvous import Guest, Host, Invitation
from tests.support.rendezvous import LOCALHOST, turn_until


@contextlib.contextmanager
def tapped(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """A port that passes on what one guest and the host say, and what the guest was overheard to say."""
    overheard: list[bytes] = []
    with (
        socket.create_server((LOCALHOST, 0)) as listener,
        socket.create_connection((LOCALHOST, port)) as to_host,
        ThreadPoolExecutor(2) as pool,
    ):

        def pump(source: socket.socket, target: socket.socket, heard: list[bytes]) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(4096):
                    heard.append(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def pass_on() -> None:
            with listener.accept()[0] as guest:
                back = pool.submit(pump, to_host, guest, [])
                pump(guest, to_host, overheard)
                back.result()

        pool.submit(pass_on)
        yield listener.getsockname()[1], overheard


def test_a_greeting_that_was_overheard_admits_nobody(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host, ThreadPoolExecutor(1) as pool:
        with tapped(host.invitation.port) as (port, overheard):
            with Invitation(LOCALHOST, port, host.invitation.secret).published(tmp_path / "rendezvous.json"):
                found = pool.submit(Guest.find, tmp_path / "rendezvous.json", 1, 20)
                turn_until(host, found.done)
            assert set(host.here) == {1}
            found.result().leave()
            turn_until(host, lambda: not host.here)
        with socket.create_connection((LOCALHOST, host.invitation.port)) as thief:
            thief.sendall(b"".join(overheard))
            ended = pool.submit(drained, thief)
            turn_until(host, ended.done)
            assert b"welcome" not in ended.result()
        assert host.here == {}


def drained(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(4096):
            heard += data
    return heard


def test_a_host_that_does_not_know_the_secret_learns_nothing_of_use(tmp_path: Path) -> None:
    """It sends back what it can make up; the guest signs nothing for it."""
    heard: list[bytes] = []

    def pretend(listener: socket.socket) -> None:
        with listener.accept()[0] as guest:
            heard.append(guest.recv(4096))
            guest.sendall(b"challenge " + b"0" * 64 + b" " + b"0" * 64 + b"\n")
            heard.append(drained(guest))

    with socket.create_server((LOCALHOST, 0)) as listener:
        thread = threading.Thread(target=pretend, args=(listener,))
        thread.start()
        invitation = Invitation(LOCALHOST, listener.getsockname()[1], "secret")
        with pytest.raises(rendezvous.HostLostError):
            Guest._greet(invitation, 1)
        thread.join()
    assert re.fullmatch(rb"hello 1 \S+ [0-9a-f]{64}\n", heard[0])
    assert heard[1] == b""


def test_strangers_who_keep_silent_hold_nobody_up_and_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        host = stack.enter_context(Host(LOCALHOST))
        strangers = [
            stack.enter_context(socket.create_connection((LOCALHOST, host.invitation.port))) for _ in range(200)
        ]
        for number, stranger in enumerate(strangers):
            stranger.sendall([b"", b"hel", b"hello 1 n1 abc\n"][number % 3])
        stack.enter_context(host.invitation.published(tmp_path / "rendezvous.json"))
        found = pool.submit(Guest.find, tmp_path / "rendezvous.json", 1, 20)
        turn_until(host, found.done)
        assert set(host.here) == {1}
        # Those who are here by then have not been asked to leave.
        for stranger in host._strangers:
            host._strangers[stranger] = 0.0
        host.turn(0.05)
        assert host._strangers == {}
        assert set(host.here) == {1}
        assert all(drained(stranger).startswith((b"", b"challenge")) for stranger in strangers)
        found.result().leave()
