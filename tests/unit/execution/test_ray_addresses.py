"""Addresses of a running Ray: what is no address, and what answers there but is no Ray."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from rayspin import cli
from rayspin.errors import InputError
from rayspin.execution.session import Session


@contextmanager
def answering(family: socket.AddressFamily, answer: bytes) -> Iterator[int]:
    """A port at which everybody gets these bytes."""
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(answer)
                        connection.recv(4096)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The first frame of any HTTP/2 server (RFC 9113, 3.4), as a server of gRPC is."""


@pytest.mark.parametrize("address", ["auto", "6379", "host", "host:", ":6379", "host:port", "ray://h:10001", "h:70000"])
def test_what_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no HOST:PORT; give HOST:PORT of a running Ray"):
        Session(address).check()


def test_addresses_of_both_families_are_reached() -> None:
    with answering(socket.AF_INET, SETTINGS) as port:
        Session(f"127.0.0.1:{port}").check()
        Session(f"localhost:{port}").check()
    with answering(socket.AF_INET6, SETTINGS) as port:
        Session(f"[::1]:{port}").check()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_answers_and_is_no_ray_is_refused(answer: bytes) -> None:
    with answering(socket.AF_INET, answer) as port, pytest.raises(InputError, match="what answers there is no Ray"):
        Session(f"127.0.0.1:{port}").check()


def test_a_web_server_is_no_ray() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(InputError, match="what answers there is no Ray"):
            Session(f"127.0.0.1:{server.server_port}").check()
        thread.join()


def test_where_nothing_listens_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=r"nothing answers \(.*refused\)"):
        Session(f"127.0.0.1:{port}").check()


def test_the_refusal_names_the_variable_that_the_address_came_from() -> None:
    runner = CliRunner()
    refused = runner.invoke(cli.main, ["run", "jobs/smoke/generate.toml"], env={"RAY_ADDRESS": "auto"})
    assert refused.exit_code == 2
    assert refused.output == (
        "RAY_ADDRESS auto: is no HOST:PORT; give HOST:PORT of a running Ray, "
        "or unset it for a Ray of this command alone\n"
    )
    refused = runner.invoke(cli.main, ["run", "jobs/smoke/generate.toml", "--address", "auto"])
    assert refused.output.startswith("--address auto: is no HOST:PORT; ")
    assert "RAY_ADDRESS" in runner.invoke(cli.main, ["run", "--help"]).output
