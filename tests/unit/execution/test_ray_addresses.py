"""Addresses of a running Ray: invalid addresses, and servers that are not Ray."""

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
def server_with_answer(family: socket.AddressFamily, answer: bytes) -> Iterator[int]:
    """Run a server that sends these bytes to each client, and yield its port."""
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
"""The first frame of an HTTP/2 server (RFC 9113, 3.4), such as a gRPC server."""


@pytest.mark.parametrize("address", ["auto", "6379", "host", "host:", ":6379", "host:port", "ray://h:10001", "h:70000"])
def test_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is not of the form HOST:PORT; give HOST:PORT of a running Ray"):
        Session(address).check()


def test_ipv4_and_ipv6_addresses_are_accepted() -> None:
    with server_with_answer(socket.AF_INET, SETTINGS) as port:
        Session(f"127.0.0.1:{port}").check()
        Session(f"localhost:{port}").check()
    with server_with_answer(socket.AF_INET6, SETTINGS) as port:
        Session(f"[::1]:{port}").check()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_server_that_is_not_ray_is_refused(answer: bytes) -> None:
    with (
        server_with_answer(socket.AF_INET, answer) as port,
        pytest.raises(InputError, match="a server answers there that is not Ray"),
    ):
        Session(f"127.0.0.1:{port}").check()


def test_web_server_is_refused() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(InputError, match="a server answers there that is not Ray"):
            Session(f"127.0.0.1:{server.server_port}").check()
        thread.join()


def test_address_without_a_server_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=r"nothing answers \(.*refused\)"):
        Session(f"127.0.0.1:{port}").check()


def test_error_names_the_variable_or_option_of_the_address() -> None:
    runner = CliRunner()
    refused = runner.invoke(cli.main, ["run", "jobs/smoke/generate.toml"], env={"RAY_ADDRESS": "auto"})
    assert refused.exit_code == 2
    assert refused.output == (
        "RAY_ADDRESS auto: is not of the form HOST:PORT; give HOST:PORT of a running Ray, "
        "or unset it for a Ray of this command alone\n"
    )
    refused = runner.invoke(cli.main, ["run", "jobs/smoke/generate.toml", "--address", "auto"])
    assert refused.output.startswith("--address auto: is not of the form HOST:PORT; ")
    assert "RAY_ADDRESS" in runner.invoke(cli.main, ["run", "--help"]).output
