"""Authentication of nodes over real sockets: recorded messages are useless, and other clients cause no delay."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rayspin.launch import rendezvous
from rayspin.launch.rendezvous import Endpoint, Host, Member
from tests.support.rendezvous import LOCALHOST, turn_until
from tests.support.runs import wait_until


@contextlib.contextmanager
def recording_proxy(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Forward the messages of one member and the host; yield the port, and the recorded messages of the member."""
    recorded: list[bytes] = []
    with (
        socket.create_server((LOCALHOST, 0)) as listener,
        socket.create_connection((LOCALHOST, port)) as to_host,
        ThreadPoolExecutor(2) as pool,
    ):

        def forward(source: socket.socket, target: socket.socket, received: list[bytes]) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(4096):
                    received.append(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def accept_and_forward() -> None:
            with listener.accept()[0] as member:
                back = pool.submit(forward, to_host, member, [])
                forward(member, to_host, recorded)
                back.result()

        pool.submit(accept_and_forward)
        yield listener.getsockname()[1], recorded


def receive_all(connection: socket.socket) -> bytes:
    """Return all bytes received until the other side closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(4096):
            received += data
    return received


def test_replayed_messages_are_refused(tmp_path: Path) -> None:
    with Host(LOCALHOST) as host, ThreadPoolExecutor(1) as pool:
        with recording_proxy(host.endpoint.port) as (port, recorded):
            with Endpoint(LOCALHOST, port, host.endpoint.secret).published(tmp_path / "rendezvous.json"):
                joined = pool.submit(Member.join, tmp_path / "rendezvous.json", 1, 20)
                turn_until(host, lambda: set(host.present) == {1})
            joined.result().leave()
            turn_until(host, lambda: not host.present)
        assert recorded
        assert host.endpoint.key not in b"".join(recorded)
        with socket.create_connection((LOCALHOST, host.endpoint.port)) as client:
            client.sendall(b"".join(recorded))
            response = pool.submit(receive_all, client)
            turn_until(host, response.done)
            assert b"WELCOME" not in response.result()
        assert host.present == {}


def test_member_refuses_a_host_without_the_secret(tmp_path: Path) -> None:
    """The member answers the challenge of the host, and sends a challenge that the host can't answer."""

    def run_fake_host(listener: socket.socket) -> None:
        with listener.accept()[0] as stream:
            connection = Connection(stream.dup().detach())
            connection.send_bytes(b"#CHALLENGE#" + bytes(20))
            answer = connection.recv_bytes()
            assert b"secret" not in answer
            connection.send_bytes(b"#WELCOME#")
            connection.recv_bytes()
            connection.send_bytes(bytes(16))
            with contextlib.suppress(EOFError):
                connection.recv_bytes()
            connection.close()

    with socket.create_server((LOCALHOST, 0)) as listener, ThreadPoolExecutor(1) as pool:
        fake_host = pool.submit(run_fake_host, listener)
        endpoint = Endpoint(LOCALHOST, listener.getsockname()[1], "secret")
        with pytest.raises(AuthenticationError):
            Member._connect(endpoint, 1)
        fake_host.result()


def test_silent_clients_cause_no_delay_and_are_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(rendezvous, "_GREETING_S", 3600.0)
        host = stack.enter_context(Host(LOCALHOST))
        clients = [stack.enter_context(socket.create_connection((LOCALHOST, host.endpoint.port))) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall([b"", b"hel", b"hello 1 n1 abc\n"][number % 3])
        wait_until(lambda: len(host._unauthenticated) >= 100)
        stack.enter_context(host.endpoint.published(tmp_path / "rendezvous.json"))
        monkeypatch.setattr(rendezvous, "_GREETING_S", 10.0)
        joined = pool.submit(Member.join, tmp_path / "rendezvous.json", 1, 20)
        turn_until(host, lambda: set(host.present) == {1})
        host._close_unauthenticated(math.inf)
        turn_until(host, lambda: not host._unauthenticated)
        for client in clients:
            receive_all(client)
        host.turn(0.05)
        assert set(host.present) == {1}
        joined.result().leave()
