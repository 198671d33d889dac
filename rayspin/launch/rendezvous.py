"""Rendezvous of the nodes of a job, without Ray and with one small file on the shared file system.

The host (rank 0) listens on a port chosen by the kernel and publishes its endpoint in a file on the shared file system,
which only its user can read. A member (any other rank) reads the file, connects, and keeps the connection while its
node is part of the cluster. A closed connection means that the other side has ended. The host has a socket per member.

Both sides prove that they know the secret of the endpoint with the challenges of `multiprocessing.connection`, so that
recorded messages can't be replayed. Then a member sends `RANK HOST` and, once its Ray node is up, `up`. The host sends
`join ADDRESS`, and `end` when the job is over.
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
"""Seconds in which a new connection must authenticate before it is closed."""


@dataclass(frozen=True)
class Endpoint:
    """The address of the host and the secret of the job.

    Attributes:
        host: IP address of the host.
        port: port on which the host listens.
        secret: secret of the job, which is also the token of its Ray cluster.
    """

    host: str
    port: int
    secret: str

    @contextmanager
    def published(self, path: Path) -> Iterator[None]:
        """Context in which the file `path` holds the endpoint, with mode 0600; afterwards the file is empty.

        An empty file informs late members that the host has ended.
        """
        _put(path, json.dumps([self.host, self.port, self.secret]))
        try:
            yield
        finally:
            _put(path, "")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the endpoint from `path`; return None if the file does not exist yet.

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
        """The secret in the type that `multiprocessing.connection` expects."""
        return self.secret.encode()


class RendezvousOverError(Exception):
    """The host ended before this member connected."""


class HostLostError(Exception):
    """The connection to the host was closed without an `end` message: the host or its node is lost."""


class Host:
    """The server side of the rendezvous, used by rank 0.

    Args:
        ip: address to listen on.

    Attributes:
        endpoint: endpoint to publish.
        present: host names of the connected members, by rank.
        up: ranks of the members whose Ray node is up.
    """

    def __init__(self, ip: str) -> None:
        self._listener = socket.create_server((ip, 0), backlog=1024)
        self.endpoint = Endpoint(ip, self._listener.getsockname()[1], secrets.token_hex(32))
        self._unauthenticated: dict[socket.socket, float] = {}
        self._authenticated: queue.SimpleQueue[tuple[Connection, int, str]] = queue.SimpleQueue()
        # The threads that authenticate connections wake `turn` through this pipe.
        self._wake_receiver, self._wake_sender = Pipe(duplex=False)
        self._ranks: dict[Connection, int] = {}
        self._broadcasts: list[str] = []
        self.present: dict[int, str] = {}
        self.up: set[int] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            # A shutdown wakes the accepting thread; closing the socket would not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close_unauthenticated(math.inf)
        for member in list(self._ranks):
            self._drop(member)

    def turn(self, seconds: float) -> bool:
        """Handle connections and messages of members for `seconds` seconds; return True."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for ready in wait([self._wake_receiver, *self._ranks], left):
                assert isinstance(ready, Connection)
                if ready is self._wake_receiver:
                    self._wake_receiver.recv_bytes()
                    self._admit(*self._authenticated.get())
                else:
                    self._receive(ready)
            self._close_unauthenticated(time.monotonic())
        return True

    def tell(self, message: str) -> None:
        """Send a message to all members, including those that connect later."""
        self._broadcasts.append(message)
        for member in list(self._ranks):
            self._send(member, message)

    def dismiss(self, seconds: float) -> None:
        """Send `end` to all members, and wait at most `seconds` seconds until they have disconnected."""
        self.tell("end")
        deadline = time.monotonic() + seconds
        while self.present and time.monotonic() < deadline:
            self.turn(0.05)

    def _accept(self) -> None:
        """Accept connections, and authenticate each in a thread of its own, since a challenge blocks."""
        with suppress(OSError):
            while True:
                stranger, _ = self._listener.accept()
                self._unauthenticated[stranger] = time.monotonic() + _GREETING_S
                threading.Thread(target=self._challenge, args=(stranger,), daemon=True).start()

    def _challenge(self, stranger: socket.socket) -> None:
        # To end a blocked read, another thread shuts down `stranger`, which also affects this duplicate; closing the
        # socket would not end the read.
        connection = _connection(stranger.dup())
        try:
            deliver_challenge(connection, self.endpoint.key)
            answer_challenge(connection, self.endpoint.key)
            rank, name = connection.recv_bytes(_LONGEST_MESSAGE).decode().split()
            self._authenticated.put((connection, int(rank), name))
        except (OSError, EOFError, ValueError, AuthenticationError):
            connection.close()
        else:
            self._wake_sender.send_bytes(b"")
        finally:
            self._unauthenticated.pop(stranger, None)
            stranger.close()

    def _close_unauthenticated(self, now: float) -> None:
        """Shut down the connections that have not authenticated by the time `now`."""
        for stranger, until in list(self._unauthenticated.items()):
            if until < now:
                with suppress(OSError):
                    stranger.shutdown(socket.SHUT_RDWR)

    def _admit(self, member: Connection, rank: int, name: str) -> None:
        self._ranks[member] = rank
        self.present[rank] = name
        for message in self._broadcasts:
            self._send(member, message)

    def _receive(self, member: Connection) -> None:
        try:
            if member.recv_bytes(_LONGEST_MESSAGE) != b"up":
                raise ConnectionResetError
            self.up.add(self._ranks[member])
        except (OSError, EOFError):
            self._drop(member)

    def _send(self, member: Connection, message: str) -> None:
        try:
            member.send_bytes(message.encode())
        except OSError:
            self._drop(member)

    def _drop(self, member: Connection) -> None:
        rank = self._ranks.pop(member, None)
        if rank is not None:
            member.close()
            self.present.pop(rank, None)
            self.up.discard(rank)


class Member:
    """The client side of the rendezvous, used by all other ranks: a connection to the host.

    Attributes:
        endpoint: endpoint of the host.
        ip: address of this node on the network that leads to the host.
    """

    def __init__(self, connection: Connection, ip: str, endpoint: Endpoint) -> None:
        self._connection, self.ip, self.endpoint = connection, ip, endpoint

    @classmethod
    def join(cls, path: Path, rank: int, seconds: float, given_up: Callable[[], bool] = lambda: False) -> Self:
        """Connect to the host whose endpoint is published in the file `path`.

        The file is read repeatedly until a host answers, because a killed host leaves an endpoint that is not valid.

        Args:
            path: file with the endpoint.
            rank: rank of this task.
            seconds: time limit in seconds.
            given_up: called before each attempt; returns True to stop trying.

        Raises:
            RendezvousOverError: the host has ended.
            RunError: no host answered in time, or `given_up` returned True.
        """
        deadline, pause = time.monotonic() + seconds, 0.05
        while time.monotonic() < deadline and not given_up():
            endpoint = Endpoint.read(path)
            if endpoint is not None:
                with suppress(OSError, EOFError, ValueError, AuthenticationError):
                    return cls._connect(endpoint, rank)
            # Random and increasing pauses reduce the load on the file server when there are a thousand nodes.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(1.5 * pause, 2.0)
        raise RunError(
            str(path),
            f"no host answered task {rank} within {seconds:.0f} s",
            "see the log of task 0, and check that all nodes share this folder",
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
            HostLostError: the host is lost.
        """
        try:
            self._connection.send_bytes(message.encode())
        except OSError:
            raise HostLostError from None

    def hear(self, seconds: float) -> str | None:
        """Return the next message of the host; None if none arrives within `seconds` seconds.

        Raises:
            HostLostError: the host is lost.
        """
        try:
            if self._connection.poll(seconds):
                return self._connection.recv_bytes(_LONGEST_MESSAGE).decode()
        except (OSError, EOFError):
            raise HostLostError from None
        return None

    def leave(self) -> None:
        """Close the connection, by which the host notices that this node has left."""
        self._connection.close()


def _connection(stream: socket.socket) -> Connection:
    """Return a message connection over a socket, with `_GREETING_S` as the time limit of each read and write."""
    stream.settimeout(None)
    limit = struct.pack("ll", int(_GREETING_S), 0)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    # A node that loses power does not close its connections; keep-alive detects this within a minute.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return Connection(stream.detach())


def _put(path: Path, text: str) -> None:
    """Replace the file `path` atomically by one that only its user can read."""
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
