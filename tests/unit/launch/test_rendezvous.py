"""The rendezvous of nodes over real sockets, in threads: join, receive the address, report `up`, and leave."""

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


def stay(path: Path, rank: int) -> str:
    """Join as a member, report `up`, leave on `end`, and return the first message of the host."""
    member = Member.join(path, rank, 20)
    try:
        news = member.hear(20)
        member.say("up")
        assert member.hear(20) == "end"
        assert news is not None
        return news
    finally:
        member.leave()


def test_many_members_join_and_leave_before_the_host_ends(tmp_path: Path) -> None:
    path, members = tmp_path / "rendezvous.json", 150
    with ThreadPoolExecutor(members) as pool:
        # The members start before the host exists.
        answers = [pool.submit(stay, path, rank) for rank in range(1, members + 1)]
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


def test_the_endpoint_is_for_its_user_only_and_its_secret_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rendezvous.json"
    with Host(LOCALHOST) as host:
        with host.endpoint.published(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert Endpoint.read(path) == host.endpoint
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == b""


def test_a_member_that_comes_too_late_does_not_wait(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host, host.endpoint.published(tmp_path / "rendezvous.json"):
        pass
    with pytest.raises(RendezvousOverError):
        Member.join(tmp_path / "rendezvous.json", 1, 60)


def test_who_does_not_know_the_secret_is_turned_away(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host:
        forged = Endpoint(LOCALHOST, host.endpoint.port, "not the secret")
        with forged.published(tmp_path / "rendezvous.json"), ThreadPoolExecutor(1) as pool:
            found = pool.submit(Member.join, tmp_path / "rendezvous.json", 1, 1.0)
            turn_until(host, found.done)
        with pytest.raises(RunError, match="no host answered task 1"):
            found.result()
        assert host.present == {}


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"up\n", b"hello 1 n1 \n", b"x" * 9000, b"\xff\xfe\n"])
def test_strangers_are_turned_away_and_do_no_harm(noise: bytes) -> None:
    with Host(LOCALHOST) as host, socket.create_connection((LOCALHOST, host.endpoint.port)) as stranger:
        stranger.settimeout(LONG_S)
        with contextlib.suppress(ConnectionError):
            stranger.sendall(noise)
            stranger.shutdown(socket.SHUT_WR)
            received = b""
            while data := stranger.recv(4096):
                received += data
            assert b"WELCOME" not in received
        host.turn(0.05)
        assert host.present == {}
        assert host.up == set()


def test_both_sides_notice_that_the_other_is_gone(tmp_path: Path) -> None:
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


def test_an_endpoint_that_a_killed_host_left_leads_nowhere_and_the_next_one_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rendezvous.json"
    with Host(LOCALHOST) as dead:
        stale = dead.endpoint
    with stale.published(path), ThreadPoolExecutor(1) as pool:
        tries: list[Path] = []

        def given_up() -> bool:
            tries.append(path)
            return False

        found = pool.submit(Member.join, path, 1, math.inf, given_up)
        wait_until(lambda: len(tries) > 3)
        assert not found.done()
        with Host(LOCALHOST) as host, host.endpoint.published(path):
            turn_until(host, found.done)
            assert found.result().endpoint == host.endpoint
            found.result().leave()


def test_looking_for_a_host_can_be_given_up(tmp_path: Path) -> None:
    asked = itertools.count()
    with pytest.raises(RunError):
        Member.join(tmp_path / "rendezvous.json", 1, math.inf, lambda: next(asked) == 3)
    assert next(asked) == 4
