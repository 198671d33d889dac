"""Other users of the machine have no access to the ports and files of an embedded Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from rayspin.execution.session import Session

NOBODY = 65534

OTHER_USER = f"""
import http.client, json, os, socket, sys, urllib.error, urllib.request
import grpc
facts = json.load(sys.stdin)
CALLS = ["NodeInfoGcsService/GetAllNodeInfo", "NodeInfoGcsService/RegisterNode", "InternalKVGcsService/InternalKVPut",
         "NodeManagerService/RequestWorkerLease", "ObjectManagerService/Pull", "CoreWorkerService/PushTask"]

def calls(port, metadata):
    answers = {{}}
    with grpc.insecure_channel(f"127.0.0.1:{{port}}", [("grpc.enable_http_proxy", 0)]) as channel:
        for name in CALLS:
            call = channel.unary_unary(f"/ray.rpc.{{name}}")
            try:
                call(b"", metadata=metadata, timeout=20)
                answers[name] = "OK"
            except grpc.RpcError as error:
                answers[name] = error.code().name
    return answers

def web(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    try:
        return opener.open(f"http://127.0.0.1:{{port}}/get_or_create_runtime_env", data=b"", timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None

def opened(path):
    try:
        if path.endswith("/"):
            os.listdir(path)
        elif path.endswith("raylet"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
        else:
            open(path).close()
    except PermissionError:
        return False
    return True

# The calls import modules lazily. This user may not be able to read them later.
calls(1, None); web(1)
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
wrong = [("authorization", "Bearer " + "0" * 64)]
print(json.dumps({{
    "uid": os.getuid(),
    "calls": {{port: [calls(port, None), calls(port, wrong)] for port in facts["ports"]}},
    "web": {{port: web(port) for port in facts["ports"]}},
    "opened": [path for path in facts["paths"] if opened(path)],
}}))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the user")
def test_other_users_cannot_use_any_port_or_file(ray_session: Session) -> None:
    ray = ray_session.ray()

    @ray.remote
    def worker_pid() -> int:
        return os.getpid()

    worker = ray.get(worker_pid.remote())
    driver = psutil.Process()
    connections = []
    for process in (driver, *driver.children(recursive=True)):
        # Ray's daemons start processes that end soon.
        with suppress(psutil.NoSuchProcess):
            connections += process.net_connections()
    listening = {connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN}
    # GCS, raylet, object manager, agent, driver and worker each have at least one port.
    assert len(listening) >= 6
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert 10001 not in {address.port for address in listening}
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    session = token.parent / "r" / "session_latest"
    paths = [f"{token.parent}/", token, session / "sockets" / "raylet", f"{session}/", f"/proc/{worker}/environ"]
    assert all(Path(path).exists() for path in paths)
    facts = {"ports": [address.port for address in listening], "paths": [str(path) for path in paths]}
    done = subprocess.run(
        [sys.executable, "-P", "-c", OTHER_USER], input=json.dumps(facts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["uid"] == NOBODY
    assert results["opened"] == []
    refused = set()
    for port, answers in results["calls"].items():
        for codes in answers:
            assert "OK" not in codes.values(), (port, codes)
            if "UNAUTHENTICATED" in codes.values():
                refused.add(port)
    refused_over_http = {port for port, status in results["web"].items() if status in (401, 403)}
    assert 200 not in results["web"].values()
    assert refused | refused_over_http == {str(address.port) for address in listening}, results


def test_each_run_has_its_own_token_and_deletes_it(ray_session: Session) -> None:
    """A token in the user's home folder is neither read nor written."""
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert len(token.read_text()) == 64
    code = (
        "import os; from pathlib import Path; from rayspin.execution.session import Session\n"
        "session = Session(cpus=1); session.ray(); path = Path(os.environ['RAY_AUTH_TOKEN_PATH'])\n"
        "print(path.read_text()); session.close(); print(path.parent.exists(), 'RAY_AUTH_TOKEN_PATH' in os.environ)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    other, after = done.stdout.splitlines()
    assert other != token.read_text()
    assert after == "False False"
