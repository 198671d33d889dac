"""Time until Ray is up on the nodes of a job, and the time of plain `ray start` on the same nodes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from rayspin.execution.ray_node import installed
from tests.support.runs import wait_until
from tests.support.slurm.jobs import events, logs_and_events, start, wait_for
from tests.support.slurm.lab import Lab

PORT = "6399"


def start_by_rayspin(slurm: Lab, folder: Path) -> float:
    """Return the time from the submission until Ray is up on both nodes, in seconds."""
    folder.mkdir()
    begin = time.time()
    submission = start(folder)
    seconds = wait_for(submission, "ready")["time"] - begin
    assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    wait_until(lambda: not slurm.run("squeue", "--noheader"))
    return float(seconds)


def start_by_ray(slurm: Lab) -> float:
    """Return the time that `ray start` takes on one node and then on the other, in seconds."""
    ray = ["env", "RAY_AUTH_MODE=disabled", installed("ray"), "start", "--num-cpus=2", "--disable-usage-stats"]
    store = "--object-store-memory=134217728"
    address = slurm.run_on("n1", "hostname", "-i").stdout.split()[0]
    try:
        begin = time.monotonic()
        head = [f"--node-ip-address={address}", f"--port={PORT}", "--include-dashboard=false", "--temp-dir=/var/tmp/r"]
        for node, role in (("n1", ["--head", *head]), ("n2", [f"--address={address}:{PORT}", "--temp-dir=/var/tmp/r"])):
            done = slurm.run_on(node, *ray, store, *role)
            assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic() - begin
    finally:
        for node in ("n1", "n2"):
            slurm.run_on(node, "pkill", "-9", "-x", "(raylet|gcs_server|python.*|ray::.*)")
            slurm.run_on(node, "rm", "-rf", "/var/tmp/r")


def test_start_of_ray_on_two_nodes(benchmark, slurm: Lab, tmp_path: Path) -> None:
    rounds = 1 if benchmark.disabled else 3
    ours, plain = [], []

    def measure() -> None:
        ours.append(start_by_rayspin(slurm, tmp_path / str(len(ours))))
        plain.append(start_by_ray(slurm))

    benchmark.pedantic(measure, rounds=rounds)
    median = statistics.median(ours), statistics.median(plain)
    benchmark.extra_info.update({"rayspin": median[0], "by hand": median[1], "ratio": median[0] / median[1]})
    print(f"Ray is up after {median[0]:.1f} s from the submission, {median[1]:.1f} s by hand")
