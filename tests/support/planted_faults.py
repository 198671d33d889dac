"""Mutation tests: each fault is planted in a copy of the repository, and the tests that must detect it are run there.

    python -m tests.support.planted_faults              # all faults, half an hour
    python -m tests.support.planted_faults dmi-sign ...  # some faults

For each fault, the test file that detects it, or ESCAPED, is printed. The exit code is 1 if a fault escaped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import REPOSITORY


@dataclass(frozen=True)
class Fault:
    """A change of one place in the package.

    Attributes:
        file: path of the module, relative to the package.
        right: the original text, which occurs once in the module.
        wrong: the text that replaces it.
        tests: test files of which at least one must fail, the fastest tier first.
    """

    file: str
    right: str
    wrong: str
    tests: Sequence[str]


FAULTS = {
    # Physics
    "exchange-sign": Fault(
        "physics/_field_kernels.py",
        "exchange * (along_x + along_y)",
        "exchange * (along_x - along_y)",
        ["unit/physics/test_field.py"],
    ),
    "dmi-sign": Fault("physics/_field_kernels.py", "-xx - yy)", "-xx + yy)", ["unit/physics/test_field.py"]),
    "heat-bath-angle": Fault(
        "physics/_spin_kernels.py",
        "(tilt + fma(-_TWO, w, _ONE))",
        "(tilt + fma(-_ONE, w, _ONE))",
        ["unit/physics/test_annealing.py"],
    ),
    "reflection": Fault(
        "physics/_spin_kernels.py",
        "twice = _TWO * fma(sx",
        "twice = _ONE * fma(sx",
        ["unit/physics/test_sampling.py"],
    ),
    "overshoot": Fault(
        "physics/_spin_kernels.py",
        "nx, ny, nz = fma(overshoot, nx - sx, nx)",
        "nx, ny, nz = fma(overshoot, nx + sx, nx)",
        ["unit/physics/test_annealing.py"],
    ),
    "charge-normalization": Fault(
        "physics/_texture_kernels.py",
        "return total / (2 * math.pi)",
        "return total / math.pi",
        ["unit/physics/test_observables.py"],
    ),
    "blur-width": Fault(
        "physics/degradation.py",
        "np.exp(-0.5 * (offsets / sigma) ** 2)",
        "np.exp(-(offsets / sigma) ** 2)",
        ["unit/models/test_degradation.py"],
    ),
    "middle-rows": Fault(
        "physics/corruption.py",
        "start = (length - count) // 2",
        "start = (length - count) // 3",
        ["unit/physics/test_corruption.py"],
    ),
    "stages-share-streams": Fault(
        "rng.py",
        "spawn_key=(zlib.crc32(stage.encode()), *rest)",
        "spawn_key=(0, *rest)",
        ["unit/test_rng.py"],
    ),
    # Metrics and analysis
    "psnr-peak": Fault("metrics.py", "10 * np.log10(4 /", "10 * np.log10(1 /", ["unit/test_metrics.py"]),
    "mse-normalization": Fault(
        "metrics.py",
        "mse_per_component(estimate_YXC, truth_YXC).mean(axis=-1)",
        "mse_per_component(estimate_YXC, truth_YXC).sum(axis=-1)",
        ["unit/test_metrics.py"],
    ),
    # Training
    "sampler-ignores-the-epoch": Fault(
        "training/data.py",
        'generator("epoch", (seed, epoch))',
        'generator("epoch", (seed, 1))',
        ["unit/training/test_data.py"],
    ),
    "ranks-read-the-same-share": Fault(
        "training/data.py",
        "batch * batch_size + rank * share",
        "batch * batch_size",
        ["unit/training/test_data.py"],
    ),
    "optimizer-is-not-resumed": Fault(
        "training/checkpoint.py",
        "optimizer.load_state_dict(self.optimizer)",
        "pass",
        ["unit/training/test_loop.py"],
    ),
    "wrong-symmetry": Fault(
        "training/symmetry.py",
        "np.diag([1, -1, -1])",
        "np.diag([-1, 1, 1])",
        ["unit/training/test_symmetry.py"],
    ),
    "accumulated-gradient": Fault(
        "training/epoch.py",
        "(loss / self.training.accumulation).backward()",
        "loss.backward()",
        ["unit/training/test_loop.py"],
    ),
    # Storage and run folders
    "plan-ignores-missing-shards": Fault(
        "storage/catalog.py",
        "for first, count in [*done, (samples, 0)]:",
        "for first, count in done:",
        ["unit/jobs/generate/test_array.py"],
    ),
    "no-sync-before-the-rename": Fault(
        "rundir.py",
        "            sync(temporary)\n",
        "",
        ["unit/test_rundir.py", "faults/test_system_calls.py"],
    ),
    "incomplete-line-is-not-terminated": Fault("rundir.py", 'b"\\n" * torn + lines', "lines", ["unit/test_lines.py"]),
    "temporary-files-remain": Fault(
        "rundir.py",
        "        finally:\n            temporary.unlink(missing_ok=True)",
        "        finally:\n            pass",
        ["unit/test_rundir.py"],
    ),
    "a-claim-is-shared": Fault(
        "claims.py",
        "fcntl.LOCK_SH if shared else fcntl.LOCK_EX",
        "fcntl.LOCK_SH",
        ["unit/test_claims.py"],
    ),
    # Ray
    "lost-actor-counts-against-its-item": Fault(
        "execution/work_queue.py",
        "        self.put_back(items)\n        if successes_before",
        "        self.failed(items[0], reason, reason)\n        self.put_back(items[1:])\n        if successes_before",
        ["unit/execution/test_work_queue.py"],
    ),
    "a-failed-item-is-dropped": Fault(
        "execution/work_queue.py",
        "            self._waiting.append(item)",
        "            pass",
        ["unit/execution/test_work_queue.py"],
    ),
    # Jobs
    "unknown-keys-are-accepted": Fault("config.py", 'extra="forbid"', 'extra="ignore"', ["unit/test_cli.py"]),
    "halving-stops-one-too-many": Fault(
        "jobs/tune/schedulers.py",
        "math.ceil(len(rung.values) / self._asha.reduction)",
        "math.floor(len(rung.values) / self._asha.reduction)",
        ["unit/jobs/tune/test_schedulers.py"],
    ),
    "a-lost-worker-stops-a-sweep": Fault(
        "jobs/tune/segment_queue.py",
        "if losses <= WORKER_RESTARTS:",
        "if losses < 1:",
        ["unit/jobs/tune/test_schedulers.py"],
    ),
    "adopted-shards-are-not-counted": Fault(
        "jobs/generate/recorder.py",
        "                self.samples_done += orphan.count\n",
        "",
        ["unit/jobs/generate/test_array.py", "ray/test_generate.py"],
    ),
    # Launch
    "the-token-is-readable": Fault(
        "execution/ray_node.py",
        "token.touch(mode=0o600)",
        "token.touch(mode=0o644)",
        ["unit/execution/test_processes.py"],
    ),
    "a-stopped-job-is-not-requeued": Fault(
        "launch/attempts.py",
        "    if code != INCOMPLETE:\n",
        "    if True:\n",
        ["unit/launch/test_attempts.py", "system/test_submit_local.py", "slurm/test_jobs.py"],
    ),
    "usr2-is-ignored": Fault(
        "execution/stopping.py",
        "(signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGALRM)",
        "(signal.SIGTERM, signal.SIGINT, signal.SIGALRM)",
        ["unit/execution/test_stopping.py", "faults/test_stops.py"],
    ),
}


def plant(fault: Fault, copy: Path) -> str | None:
    """Plant a fault in the copy and return the first of its test files that fails, or None if all pass."""
    module = copy / "rayspin" / fault.file
    text = module.read_text()
    assert text.count(fault.right) == 1, f"{fault.file} has {text.count(fault.right)} times {fault.right!r}"
    module.write_text(text.replace(fault.right, fault.wrong))
    try:
        for test in fault.tests:
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{test}"]
            environment = os.environ | {"PYTHONPATH": str(copy)}
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
            # These exit codes mean that pytest could not run the tests.
            assert done.returncode not in (2, 3, 4, 5), done.stdout + done.stderr
            if done.returncode:
                return test
        return None
    finally:
        module.write_text(text)


def main(names: Sequence[str]) -> int:
    """Plant the named faults (default: all), and return the number of faults that escaped."""
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    escaped = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder)
        # The compiled kernels are copied as well, because they stay valid unless a kernel changes.
        kept = [REPOSITORY / name for name in tracked.splitlines()]
        kept += [path for path in REPOSITORY.glob("rayspin/physics/__pycache__/*.nb*") if path.is_file()]
        for path in kept:
            target = copy / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        for name in names or FAULTS:
            caught = plant(FAULTS[name], copy)
            escaped += caught is None
            print(f"{name}: {'ESCAPED' if caught is None else f'caught by tests/{caught}'}", flush=True)
    return escaped


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
