"""Rendezvous of nodes over real sockets in threads: join, receive the address, report `up`, and leave."""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayspin.errors import RunError
from rayspin.launch.rendezvous import Endpoint, Host, HostLostError, Member, RendezvousOverError
from tests.support.rendezvous import LOCALHOST, turn_until
from tests.support.runs import LONG_S, wait_until


def run_member(path: Path, rank: int) -> str:
    """Join as a member, report `up`, leave on `end`, and return the first message of the host."""
    member = Member.join(path, rank, 20)
    try:
        first_message = member.hear(20)
        member.say("up")
        assert member.hear(20) == "end"
        assert first_message is not None
        return first_message
    finally:
        member.leave()


def test_many_members_join_and_leave_before_the_host_ends(tmp_path: Path) -> None:
    path, members = tmp_path / "rendezvous.json", 150
    with ThreadPoolExecutor(members) as pool:
        # The members start before the host exists.
        answers = [pool.submit(run_member, path, rank) for rank in range(1, members + 1)]
        with Host(LOCALHOST) as host, host.endpoint.published(path):
            turn_until(host, lambda: len(host.present) > 3)
            # Some members are connected already, others connect later; all receive the same message.
            host.tell("join 10.0.0.1:6379")
            turn_until(host, lambda: len(host.up) == members)
            assert host.up == set(range(1, members + 1))
            assert set(host.present.values()) == {socket.gethostname()}
            host.dismiss(seconds=20)
            assert host.present == {}
        assert {answer.result(20) for answer in answers} == {"join 10.0.0.1:6379"}


def test_endpoint_file_is_private_and_its_secret_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "rendezvous.json"
    with Host(LOCALHOST) as host:
        with host.endpoint.published(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert Endpoint.read(path) == host.endpoint
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == b""


def test_join_after_the_end_of_the_rendezvous_is_an_error(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host, host.endpoint.published(tmp_path / "rendezvous.json"):
        pass
    with pytest.raises(RendezvousOverError):
        Member.join(tmp_path / "rendezvous.json", 1, 60)


def test_member_with_a_wrong_secret_is_refused(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host:
        forged = Endpoint(LOCALHOST, host.endpoint.port, "not the secret")
        with forged.published(tmp_path / "rendezvous.json"), ThreadPoolExecutor(1) as pool:
            member = pool.submit(Member.join, tmp_path / "rendezvous.json", 1, 1.0)
            turn_until(host, member.done)
        with pytest.raises(RunError, match="no host answered task 1"):
            member.result()
        assert host.present == {}


@pytest.mark.parametrize(
    "data_sent", [b"GET / HTTP/1.1\r\n\r\n", b"up\n", b"hello 1 n1 \n", b"x" * 9000, b"\xff\xfe\n"]
)
def test_unauthenticated_clients_are_disconnected(data_sent: bytes) -> None:
    with Host(LOCALHOST) as host, socket.create_connection((LOCALHOST, host.endpoint.port)) as client:
        client.settimeout(LONG_S)
        with contextlib.suppress(ConnectionError):
            client.sendall(data_sent)
            # If the host has closed the connection already, this is a plain OSError.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            received = b""
            while data := client.recv(4096):
                received += data
            assert b"WELCOME" not in received
        host.turn(0.05)
        assert host.present == {}
        assert host.up == set()


def test_both_sides_detect_a_closed_connection(tmp_path: Path) -> None:
    path = tmp_path / "rendezvous.json"
    with ThreadPoolExecutor(2) as pool:
        with Host(LOCALHOST) as host, host.endpoint.published(path):
            first, second = (pool.submit(Member.join, path, rank, 20) for rank in (1, 2))
            turn_until(host, lambda: first.done() and second.done() and len(host.present) == 2)
            first.result().leave()
            turn_until(host, lambda: set(host.present) == {2})
        with pytest.raises(HostLostError):
            second.result().hear(5)
        second.result().leave()


def test_member_waits_for_a_new_host_if_the_endpoint_is_stale(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rendezvous.json"
    with Host(LOCALHOST) as dead:
        old_endpoint = dead.endpoint
    with old_endpoint.published(path), ThreadPoolExecutor(1) as pool:
        attempts: list[Path] = []

        def give_up() -> bool:
            attempts.append(path)
            return False

        member = pool.submit(Member.join, path, 1, math.inf, give_up)
        wait_until(lambda: len(attempts) > 3)
        assert not member.done()
        with Host(LOCALHOST) as host, host.endpoint.published(path):
            turn_until(host, member.done)
            assert member.result().endpoint == host.endpoint
            member.result().leave()


def test_join_ends_when_give_up_returns_true(tmp_path: Path) -> None:
    calls = itertools.count()
    with pytest.raises(RunError):
        Member.join(tmp_path / "rendezvous.json", 1, math.inf, lambda: next(calls) == 3)
    assert next(calls) == 4
