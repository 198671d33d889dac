"""How the nodes of a job find each other and part again, without Ray and without a busy shared file system.

The host (the task with rank 0) listens on a port of the kernel's choice and publishes an invitation, by
rename and readable for its user only, in a folder that all nodes see. A guest reads it once, connects, and
keeps the connection for as long as it is part of the cluster: lines of text tell the news, and its end tells
that the other is gone. A thousand guests cost the host a thousand sockets, and the file system nothing.

Each side first proves to the other that it knows the secret, which itself doesn't cross the network: it signs the rank
and what both sides have just drawn at random, so that nothing that was overheard is of use again. Guest to host:
`hello RANK HOST DRAWN`, `proof PROOF`, then `up`. Host to guest: `challenge DRAWN PROOF`, `welcome`, `join ADDRESS`,
then `end`.
"""

from __future__ import annotations

import hmac
import json
import random
import secrets
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rayspin.errors import RunError

_LONGEST_LINE = 4096

_GREETING_S = 10.0
"""Seconds for either side to prove what it is; who takes longer is turned away."""


@dataclass(frozen=True)
class Invitation:
    """Where the host is, and the secret of the job: the token of its Ray cluster, too."""

    host: str
    port: int
    secret: str

    @contextmanager
    def published(self, path: Path) -> Iterator[None]:
        """The invitation lies at `path`, with mode 0600, for the length of the block; then an empty file does.

        The empty file tells a guest that comes too late to wait no longer.
        """
        _put(path, json.dumps([self.host, self.port, self.secret]))
        try:
            yield
        finally:
            _put(path, "")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The invitation at `path`; None while there is none.

        Raises:
            MeetingOverError: there was one.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if not text:
            raise MeetingOverError
        return cls(*json.loads(text))

    def proof(self, side: str, rank: int, drawn: str) -> str:
        """What only a task of this job can say, as the host or as that guest, of numbers drawn for this once."""
        return hmac.new(self.secret.encode(), f"{side} {rank} {drawn}".encode(), "sha256").hexdigest()


class MeetingOverError(Exception):
    """The host has ended before this guest came."""


class Host:
    """The side of rank 0.

    Attributes:
        invitation: what to publish.
        here: ranks and host names of the guests connected now.
        up: ranks of those whose Ray node is up.
    """

    def __init__(self, ip: str) -> None:
        self._listener = socket.create_server((ip, 0), backlog=1024)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.invitation = Invitation(ip, self._listener.getsockname()[1], secrets.token_hex(32))
        self._guests: dict[socket.socket, _Lines] = {}
        self._strangers: dict[socket.socket, float] = {}
        self._challenged: dict[socket.socket, tuple[int, str, str]] = {}
        self._ranks: dict[socket.socket, int] = {}
        self._news = ""
        self.here: dict[int, str] = {}
        self.up: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for guest in list(self._guests):
            self._drop(guest)
        self._selector.close()
        self._listener.close()

    def turn(self, seconds: float) -> bool:
        """Take what guests have to say, for so many seconds; true."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is self._listener:
                    self._welcome()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._take(key.fileobj)
            for stranger in [guest for guest, until in self._strangers.items() if until < time.monotonic()]:
                self._drop(stranger)
        return True

    def tell(self, news: str) -> None:
        """Tell all guests, and those still to come."""
        self._news += f"{news}\n"
        for guest in list(self._ranks):
            self._say(guest, f"{news}\n")

    def dismiss(self, seconds: float) -> None:
        """Tell all guests that it's over, and wait until they have left, for so many seconds at most."""
        self.tell("end")
        deadline = time.monotonic() + seconds
        while self.here and time.monotonic() < deadline:
            self.turn(0.05)

    def _welcome(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            guest, _ = self._listener.accept()
            guest.setblocking(False)
            _watch_over(guest)
            self._guests[guest] = _Lines()
            self._strangers[guest] = time.monotonic() + _GREETING_S
            self._selector.register(guest, selectors.EVENT_READ)

    def _take(self, guest: socket.socket) -> None:
        try:
            lines = self._guests[guest].read(guest)
        except (ConnectionError, OSError):
            self._drop(guest)
            return
        for line in lines:
            if guest in self._guests and not self._heed(guest, line.split()):
                self._drop(guest)

    def _heed(self, guest: socket.socket, words: list[str]) -> bool:
        """Do what a line asks for; false if it makes no sense, or not from this guest."""
        match words:
            case ["hello", rank, name, drawn] if rank.isdecimal() and guest not in self._challenged:
                mine = secrets.token_hex(32)
                self._challenged[guest] = int(rank), name, self.invitation.proof("guest", int(rank), drawn + mine)
                self._say(guest, f"challenge {mine} {self.invitation.proof('host', int(rank), drawn + mine)}\n")
            case ["proof", proof] if guest in self._strangers and guest in self._challenged:
                rank_, name, expected = self._challenged[guest]
                if not hmac.compare_digest(proof.encode(), expected.encode()):
                    return False
                del self._strangers[guest]
                self._ranks[guest] = rank_
                self.here[rank_] = name
                self._say(guest, f"welcome\n{self._news}")
            case ["up"] if guest in self._ranks:
                self.up.add(self._ranks[guest])
            case _:
                return False
        return True

    def _say(self, guest: socket.socket, text: str) -> None:
        try:
            guest.sendall(text.encode())
        except (ConnectionError, OSError):
            self._drop(guest)

    def _drop(self, guest: socket.socket) -> None:
        self._selector.unregister(guest)
        guest.close()
        del self._guests[guest]
        self._strangers.pop(guest, None)
        self._challenged.pop(guest, None)
        rank = self._ranks.pop(guest, None)
        if rank is not None:
            self.here.pop(rank, None)
            self.up.discard(rank)


class HostLostError(Exception):
    """The connection to the host ended without an `end`: it, or its node, is gone."""


class Guest:
    """The side of all other ranks: a connection to the host.

    Attributes:
        invitation: the one that was followed.
        ip: the address of this node as the host sees it.
    """

    def __init__(self, connection: socket.socket, invitation: Invitation) -> None:
        self._connection = connection
        self._lines = _Lines()
        self._heard: list[str] = []
        self.invitation = invitation
        self.ip: str = connection.getsockname()[0]

    @classmethod
    def find(cls, path: Path, rank: int, seconds: float, given_up: Callable[[], bool] = lambda: False) -> Self:
        """The connection to the host that publishes its invitation at `path`.

        An invitation that a killed host left behind leads nowhere; it is read again until a host answers.

        Args:
            path: where the invitation will be.
            rank: of this task.
            seconds: how long to try.
            given_up: asked again and again; true to stop trying.

        Raises:
            MeetingOverError: the host has ended already.
            RunError: no host in time.
        """
        deadline, pause = time.monotonic() + seconds, 0.05
        while time.monotonic() < deadline and not given_up():
            invitation = Invitation.read(path)
            if invitation is not None:
                with suppress(OSError, HostLostError):
                    return cls._greet(invitation, rank)
            # Spread out, and ever slower: a thousand nodes ask the same file server.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(1.5 * pause, 2.0)
        raise RunError(
            str(path),
            f"no host answered task {rank} within {seconds:.0f} s",
            "see the log of task 0; is the folder shared?",
        )

    @classmethod
    def _greet(cls, invitation: Invitation, rank: int) -> Self:
        connection = socket.create_connection((invitation.host, invitation.port), timeout=_GREETING_S)
        guest = cls(connection, invitation)
        try:
            _watch_over(connection)
            mine = secrets.token_hex(32)
            guest.say(f"hello {rank} {socket.gethostname()} {mine}")
            verb, theirs, proof = ((guest.hear(_GREETING_S) or "").split() + 3 * [""])[:3]
            if verb != "challenge" or not hmac.compare_digest(
                proof.encode(), invitation.proof("host", rank, mine + theirs).encode()
            ):
                raise HostLostError
            guest.say(f"proof {invitation.proof('guest', rank, mine + theirs)}")
            if guest.hear(_GREETING_S) != "welcome":
                raise HostLostError
        except BaseException:
            connection.close()
            raise
        return guest

    def say(self, line: str) -> None:
        """Tell the host.

        Raises:
            HostLostError: it is gone.
        """
        try:
            self._connection.sendall(f"{line}\n".encode())
        except OSError:
            raise HostLostError from None

    def hear(self, seconds: float) -> str | None:
        """The next line of the host; None if it says nothing for so many seconds.

        Raises:
            HostLostError: it is gone.
        """
        if not self._heard:
            self._connection.settimeout(seconds)
            try:
                self._heard += self._lines.read(self._connection)
            except TimeoutError:
                return None
            except OSError:
                raise HostLostError from None
        return self._heard.pop(0) if self._heard else None

    def leave(self) -> None:
        """Close the connection, which tells the host that this node has left."""
        self._connection.close()


class _Lines:
    """Whole lines out of what a socket brings."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, connection: socket.socket) -> list[str]:
        """The lines that one read completes.

        Raises:
            ConnectionError: the other side has closed, or sends no lines.
        """
        data = connection.recv(_LONGEST_LINE)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _LONGEST_LINE:
            raise ConnectionResetError
        return [line.decode(errors="replace") for line in lines]


def _put(path: Path, text: str) -> None:
    """A file of its user only, in place of the one at `path`."""
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _watch_over(connection: socket.socket) -> None:
    """Notice within a minute that the other node has lost its power: it says no goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
