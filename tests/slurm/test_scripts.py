"""Plain sbatch scripts on a real Slurm cluster behave like `rayspin submit`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rayspin import templates
from rayspin.launch.submissions import State, Submission, latest, logs, state
from rayspin.status import describe
from tests.support.repository import REPOSITORY
from tests.support.runs import wait_until
from tests.support.slurm.jobs import (
    JOB,
    accounting_field,
    assert_samples_are_right,
    events,
    final_state,
    logs_and_events,
    wait_for,
)
from tests.support.slurm.lab import Lab


def sbatch(slurm: Lab, folder: Path, *command: str, text: str = JOB, stage: tuple[str, ...] = ()) -> str:
    """Submit a job with a script of `rayspin init slurm` and sbatch, and return its ID."""
    if not (folder / "slurm").exists():
        templates.write("slurm", folder / "slurm")
    (folder / "job.toml").write_text(text)
    venv = folder / "venv" / "bin"
    venv.mkdir(parents=True, exist_ok=True)
    (venv / "activate").write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    environment = slurm.environment() | {"RAYSPIN_VENV": str(venv.parent), "TMPDIR": "/var/tmp"}
    job = (f"{folder}/job.toml", "--out", f"{folder}/run", *stage)
    return subprocess.run(
        ["sbatch", "--parsable", f"--output={folder}/log-%A_%a", *command, *job],
        cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip


def submit_script(slurm: Lab, folder: Path, *command: str) -> Submission:
    """Submit a job with a plain script, and return its record once its first task has written it."""
    sbatch(slurm, folder, *command)
    records = folder / "run" / "submissions"
    wait_until(lambda: list(records.glob("*/submission.json")), lambda: [*map(Path.read_text, folder.glob("log*"))])
    return latest(folder / "run")


def test_ray_script_behaves_like_submit(slurm: Lab, tmp_path: Path) -> None:
    submission = submit_script(slurm, tmp_path, "--nodes=2", "slurm/ray.sbatch")
    assert wait_for(submission, "ended")["code"] == 0, submission.parts[0].log.read_text()
    assert_samples_are_right(tmp_path, 8)
    assert final_state(slurm, submission) == "COMPLETED"
    _, rows = describe(tmp_path / "run")
    assert rows[f"job {submission.job_ids}"] == "done"
    messages = [line.split("  ", 1)[1] for line in rows["events"].splitlines()]
    assert messages[:2] == [f"submitted as job {submission.job_ids} (slurm)", "started on n1 with 2 nodes"]
    assert messages[2].startswith("Ray was up on n1, n2 after")
    assert "energy per site" in "".join(logs(submission))


def test_array_script_behaves_like_submit(slurm: Lab, tmp_path: Path) -> None:
    submission = submit_script(slurm, tmp_path, "--array=0-2", "slurm/array.sbatch")
    assert [part.task for part in submission.parts] == [1, 2, 3]
    wait_until(lambda: state(submission).final, lambda: logs_and_events(submission))
    assert state(submission) == State("done", "of 3: 3 done")
    assert_samples_are_right(tmp_path, 8)
    assert describe(tmp_path / "run")[1]["state"] == "finished"
    assert all("generate shards" in part.log.read_text() for part in submission.parts)


def test_scripts_run_the_stages_of_a_pipeline(slurm: Lab, tmp_path: Path) -> None:
    """The example of docs/slurm.md: an array, followed by a training with a worker on each of two nodes."""
    text = (REPOSITORY / "jobs" / "smoke" / "pipeline.toml").read_text()
    one = sbatch(slurm, tmp_path, "--array=1-2", "slurm/array.sbatch", text=text, stage=("--stage", "generate"))
    after = (f"--dependency=afterok:{one}", "--kill-on-invalid-dep=yes")
    training = ("--stage", "train", "--set", "stages.train.resources.workers=2")
    resources = ("--nodes=2", "--cpus-per-task=1", "--mem=3G", "slurm/train_gpu.sbatch")
    two = sbatch(slurm, tmp_path, *after, *resources, text=text, stage=training)
    record = tmp_path / "run" / "submissions" / two / "submission.json"
    wait_until(record.exists, lambda: slurm.run("squeue"))
    submission = latest(tmp_path / "run")
    assert wait_for(submission, "ended")["code"] == 0, submission.parts[0].log.read_text()
    assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
    _, rows = describe(tmp_path / "run")
    assert (rows[f"job {two}"], rows["generate: state"], rows["train: state"]) == ("done", "finished", "finished")
    for job_id in (one, two):
        assert f"submitted as job {job_id} (slurm)" in rows["events"]
    wait_until(lambda: "gres/gpu=2" in accounting_field(slurm, two, "AllocTRES"))
