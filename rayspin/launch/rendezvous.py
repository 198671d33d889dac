"""How the nodes of a job find each other, without Ray and with one small file on the shared file system.

The host (rank 0) listens on a port that the kernel chooses, and publishes its endpoint in a folder that all nodes see,
in a file that only its user can read. A member (any other rank) reads the file, connects, and keeps the connection
while its node is part of the cluster. A closed connection means that the other side is gone. A thousand members cost
the host a thousand sockets, and the file system nothing.

Both sides prove that they know the secret of the endpoint by the challenges of `multiprocessing.connection`, so that
recorded messages are useless to others. Then a member sends `RANK HOST` and, once its Ray node is up, `up`; the host
sends `join ADDRESS`, and `end` when the job is over.
"""

from __future__ import annotations

import json
import math
import queue
import random
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Pipe, answer_challenge, deliver_challenge, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from rayspin.errors import RunError

_LONGEST_MESSAGE = 4096

_GREETING_S = 10.0
"""Seconds in which a new connection must have proved itself; then it is closed."""


@dataclass(frozen=True)
class Endpoint:
    """The address of the host, and the secret of the job, which is also the token of its Ray cluster."""

    host: str
    port: int
    secret: str

    @contextmanager
    def published(self, path: Path) -> Iterator[None]:
        """A context in which the endpoint lies at `path`, with mode 0600; afterwards, an empty file does.

        The empty file tells a member that comes too late that there is nothing to wait for.
        """
        _put(path, json.dumps([self.host, self.port, self.secret]))
        try:
            yield
        finally:
            _put(path, "")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The endpoint at `path`; None if there is no file yet.

        Raises:
            RendezvousOverError: the host has ended.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if not text:
            raise RendezvousOverError
        return cls(*json.loads(text))

    @property
    def key(self) -> bytes:
        """The secret as `multiprocessing.connection` takes it."""
        return self.secret.encode()


class RendezvousOverError(Exception):
    """The host ended before this member came."""


class HostLostError(Exception):
    """The connection to the host was closed without an `end`: the host, or its node, is gone."""


class Host:
    """Rank 0's side.

    Args:
        ip: the address to listen on.

    Attributes:
        endpoint: what to publish.
        present: host names of the connected members, by rank.
        up: ranks of the members whose Ray node is up.
    """

    def __init__(self, ip: str) -> None:
        self._listener = socket.create_server((ip, 0), backlog=1024)
        self.endpoint = Endpoint(ip, self._listener.getsockname()[1], secrets.token_hex(32))
        self._unproved: dict[socket.socket, float] = {}
        self._proved: queue.SimpleQueue[tuple[Connection, int, str]] = queue.SimpleQueue()
        # The admitting threads wake `turn` through this pipe.
        self._bell, self._ring = Pipe(duplex=False)
        self._ranks: dict[Connection, int] = {}
        self._news: list[str] = []
        self.present: dict[int, str] = {}
        self.up: set[int] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            # Wakes the accepting thread, which a plain close would not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close_unproved(math.inf)
        for member in list(self._ranks):
            self._drop(member)

    def turn(self, seconds: float) -> bool:
        """Handle what members send, for `seconds` seconds; return true."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for ready in wait([self._bell, *self._ranks], left):
                assert isinstance(ready, Connection)
                if ready is self._bell:
                    self._bell.recv_bytes()
                    self._admit(*self._proved.get())
                else:
                    self._receive(ready)
            self._close_unproved(time.monotonic())
        return True

    def tell(self, news: str) -> None:
        """Send a message to all members, and to those still to come."""
        self._news.append(news)
        for member in list(self._ranks):
            self._send(member, news)

    def dismiss(self, seconds: float) -> None:
        """Tell all members that the job is over, and wait `seconds` seconds at most until they have left."""
        self.tell("end")
        deadline = time.monotonic() + seconds
        while self.present and time.monotonic() < deadline:
            self.turn(0.05)

    def _accept(self) -> None:
        """The accepting thread: a thread for each new connection, since a challenge blocks."""
        with suppress(OSError):
            while True:
                stranger, _ = self._listener.accept()
                self._unproved[stranger] = time.monotonic() + _GREETING_S
                threading.Thread(target=self._challenge, args=(stranger,), daemon=True).start()

    def _challenge(self, stranger: socket.socket) -> None:
        # Closing the socket from another thread would not end a read; a shutdown of it ends that of its duplicate.
        connection = _connection(stranger.dup())
        try:
            deliver_challenge(connection, self.endpoint.key)
            answer_challenge(connection, self.endpoint.key)
            rank, name = connection.recv_bytes(_LONGEST_MESSAGE).decode().split()
            self._proved.put((connection, int(rank), name))
        except (OSError, EOFError, ValueError, AuthenticationError):
            connection.close()
        else:
            self._ring.send_bytes(b"")
        finally:
            self._unproved.pop(stranger, None)
            stranger.close()

    def _close_unproved(self, now: float) -> None:
        """Close the connections that have not proved themselves in time."""
        for stranger, until in list(self._unproved.items()):
            if until < now:
                with suppress(OSError):
                    stranger.shutdown(socket.SHUT_RDWR)

    def _admit(self, member: Connection, rank: int, name: str) -> None:
        self._ranks[member] = rank
        self.present[rank] = name
        for news in self._news:
            self._send(member, news)

    def _receive(self, member: Connection) -> None:
        try:
            if member.recv_bytes(_LONGEST_MESSAGE) != b"up":
                raise ConnectionResetError
            self.up.add(self._ranks[member])
        except (OSError, EOFError):
            self._drop(member)

    def _send(self, member: Connection, news: str) -> None:
        try:
            member.send_bytes(news.encode())
        except OSError:
            self._drop(member)

    def _drop(self, member: Connection) -> None:
        rank = self._ranks.pop(member, None)
        if rank is not None:
            member.close()
            self.present.pop(rank, None)
            self.up.discard(rank)


class Member:
    """The side of all other ranks: a connection to the host.

    Attributes:
        endpoint: the one that it connected to.
        ip: the address of this node as the host sees it.
    """

    def __init__(self, connection: Connection, ip: str, endpoint: Endpoint) -> None:
        self._connection, self.ip, self.endpoint = connection, ip, endpoint

    @classmethod
    def join(cls, path: Path, rank: int, seconds: float, given_up: Callable[[], bool] = lambda: False) -> Self:
        """Connect to the host whose endpoint is published at `path`.

        The endpoint of a host that was killed leads nowhere; the file is read again until a host answers.

        Args:
            path: the file of the endpoint.
            rank: rank of this task.
            seconds: how long to try.
            given_up: called before each attempt; true to stop trying.

        Raises:
            RendezvousOverError: the host has ended already.
            RunError: no host answered in time, or `given_up` returned true.
        """
        deadline, pause = time.monotonic() + seconds, 0.05
        while time.monotonic() < deadline and not given_up():
            endpoint = Endpoint.read(path)
            if endpoint is not None:
                with suppress(OSError, EOFError, ValueError, AuthenticationError):
                    return cls._connect(endpoint, rank)
            # At random, and ever more slowly: a thousand nodes ask the same file server.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(1.5 * pause, 2.0)
        raise RunError(
            str(path),
            f"no host answered task {rank} within {seconds:.0f} s",
            "see the log of task 0; is the folder shared?",
        )

    @classmethod
    def _connect(cls, endpoint: Endpoint, rank: int) -> Self:
        stream = socket.create_connection((endpoint.host, endpoint.port), timeout=_GREETING_S)
        ip: str = stream.getsockname()[0]
        connection = _connection(stream)
        try:
            answer_challenge(connection, endpoint.key)
            deliver_challenge(connection, endpoint.key)
            connection.send_bytes(f"{rank} {socket.gethostname()}".encode())
        except BaseException:
            connection.close()
            raise
        return cls(connection, ip, endpoint)

    def say(self, message: str) -> None:
        """Send a message to the host.

        Raises:
            HostLostError: the host is gone.
        """
        try:
            self._connection.send_bytes(message.encode())
        except OSError:
            raise HostLostError from None

    def hear(self, seconds: float) -> str | None:
        """The next message of the host; None if there is none within `seconds` seconds.

        Raises:
            HostLostError: the host is gone.
        """
        try:
            if self._connection.poll(seconds):
                return self._connection.recv_bytes(_LONGEST_MESSAGE).decode()
        except (OSError, EOFError):
            raise HostLostError from None
        return None

    def leave(self) -> None:
        """Close the connection, which tells the host that this node has left."""
        self._connection.close()


def _connection(stream: socket.socket) -> Connection:
    """The socket as a connection of messages: no read or write of it takes longer than a greeting may."""
    stream.settimeout(None)
    limit = struct.pack("ll", int(_GREETING_S), 0)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    # A node that loses its power closes no connection: this detects it within a minute.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return Connection(stream.detach())


def _put(path: Path, text: str) -> None:
    """Replace the file at `path` by one that only its user can read."""
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
