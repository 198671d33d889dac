"""Options of submissions: validation, and the sbatch scripts and job requests made from them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from rayspin.errors import InputError
from rayspin.job import load
from rayspin.launch.job_requests import JobRequest, SiteProfile, job_requests
from rayspin.launch.options import SubmitOptions
from rayspin.launch.submit import script, submit
from tests.support.submissions import DATA, JOB, options, pipeline


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("90", 90),
        ("90:00", 90),
        ("1:30:00", 90),
        ("0:89:01", 90),
        ("1-0", 1440),
        ("2-12:30", 3630),
        ("1-1:1:1", 1502),
    ],
)
def test_walltimes_are_parsed_like_in_slurm(time: str, minutes: int) -> None:
    # The manual page sbatch(1) lists the formats of --time.
    assert options(time=time).minutes == minutes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"time": "two hours"}, "site.toml: time: 'two hours' is not a valid walltime"),
        ({"time": "4", "drain_seconds": 120}, "site.toml: time: 4 is too short: the drain starts 120 s before the end"),
        ({"nodes": 2, "min_nodes": 3}, r"site.toml: min_nodes: 3 is more than nodes \(2\)"),
        ({"nodes": 0}, "site.toml: nodes: 0 is invalid"),
        ({"partiton": "gpu"}, "site.toml: partiton: unknown key; did you mean 'partition'"),
        ({"cluster": "pbs"}, "site.toml: cluster: unknown value 'pbs'"),
    ],
)
def test_invalid_options_are_refused_with_the_reason(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(**table)


def directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_script_requests_the_resources_of_the_options(tmp_path: Path) -> None:
    site = options(
        nodes=4, time="12:00:00", partition="gpu", account="spins", gpus_per_node=2, cpus_per_node=16,
        memory_per_node="64G", drain_seconds=300, modules=["python/3.11"], setup=["export A=1"],
        options={"reservation": "weekend"},
    )  # fmt: skip
    text = script(Path("jobs/quickstart.toml"), tmp_path / "run", ("samples=3",), [JobRequest("", site)])
    requested = directives(text)
    expected = {
        "nodes": "4", "ntasks-per-node": "1", "time": "720", "partition": "gpu", "account": "spins",
        "gpus-per-node": "2", "cpus-per-task": "16", "mem": "64G", "signal": "USR2@300", "requeue": "",
        "no-kill": "", "reservation": "weekend", "job-name": "rayspin-quickstart",
    }  # fmt: skip
    assert expected.items() <= requested.items()
    assert not {"exclusive", "wckey", "qos"} & requested.keys()
    assert text.index("module load python/3.11") < text.index("export A=1") < text.index("srun")
    assert "--set samples=3" in text
    assert not (tmp_path / "run").exists()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_nodes_are_exclusive_unless_cpus_are_requested(tmp_path: Path) -> None:
    def is_exclusive(**table: Any) -> bool:
        return "exclusive" in directives(script(Path("job.toml"), tmp_path, (), [JobRequest("", options(**table))]))

    assert is_exclusive()
    assert not is_exclusive(cpus_per_node=4)
    assert is_exclusive(cpus_per_node=4, exclusive=True)
    assert not is_exclusive(exclusive=False)


def test_submission_without_slurm_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "job.toml").write_text(JOB)
    with pytest.raises(InputError, match=r"Slurm \(sbatch and srun\) not found"):
        submit(tmp_path / "job.toml", tmp_path / "run", (), [JobRequest("", options())])


EVALUATE = 'kind = "evaluate-fcn"\ndataset = "@data"\nweights = "@train"\n'
TRAIN = 'kind = "train-fcn"\ndataset = "@data"\n'


def test_each_stage_has_its_own_resources_and_dependencies(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(pipeline(data=DATA, train=TRAIN, more=DATA, evaluate=EVALUATE))
    (tmp_path / "site.toml").write_text(
        'partition = "cpu"\n[kind."train-*"]\npartition = "gpu"\ngpus_per_node = 4\n[kind.generate]\narray = 8\n'
    )
    job = load(tmp_path / "job.toml")
    site = SiteProfile.read(tmp_path / "site.toml")
    requests = {
        request.stage: request for request in job_requests(job, site, {"time": "4:00:00"}, {"train": {"nodes": 2}})
    }
    assert {name: request.after for name, request in requests.items()} == {
        "data": (), "train": ("data",), "more": (), "evaluate": ("data", "train"),
    }  # fmt: skip
    train, data = requests["train"].options, requests["data"].options
    assert (train.partition, train.gpus_per_node, train.nodes, train.array) == ("gpu", 4, 2, None)
    assert (data.partition, data.gpus_per_node, data.nodes, data.array) == ("cpu", 0, 1, 8)
    assert {request.options.time for request in requests.values()} == {"4:00:00"}
    text = script(tmp_path / "job.toml", tmp_path / "run", (), list(requests.values()))
    assert "--dependency=afterok:JOB-ID-OF-data:JOB-ID-OF-train" in text
    assert text.count("#SBATCH --kill-on-invalid-dep=yes") == 2
    assert text.count("#SBATCH --array=0-7") == 2
    assert "--stage data --shards K/8\n" in text
    assert "--stage train --address" in text
    (one,) = job_requests(job, SiteProfile({}, {}), {}, one_job=True)
    assert one == JobRequest("", SubmitOptions())


@pytest.mark.parametrize(
    ("given", "for_stages", "message"),
    [
        ({"array": 4, "nodes": 2}, {}, "submit: nodes: 2 nodes, but each of the 4 tasks"),
        ({}, {"trian": {"nodes": 2}}, "--for trian: not a stage of this pipeline; did you mean 'train'"),
        ({}, {"train": {"node": 2}}, "submit: node: unknown key; did you mean 'nodes'"),
        ({}, {"train": {"array": 2}}, "train: array: 'train-fcn' jobs can't run as an array"),
    ],
)
def test_invalid_options_of_stages_are_refused(
    tmp_path: Path, given: dict[str, Any], for_stages: dict[str, Any], message: str
) -> None:
    (tmp_path / "job.toml").write_text(pipeline(data=DATA, train=TRAIN))
    with pytest.raises(InputError, match=message):
        job_requests(load(tmp_path / "job.toml"), SiteProfile({}, {}), given, for_stages)


def test_options_for_stages_and_arrays_are_refused_where_not_applicable(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(TRAIN.replace("@data", "runs/data"))
    job = load(tmp_path / "job.toml")
    with pytest.raises(InputError, match="--for: applies only to the stages of a pipeline"):
        job_requests(job, SiteProfile({}, {}), {}, {"train": {"nodes": 2}})
    with pytest.raises(InputError, match="array: 'train-fcn' jobs can't run as an array"):
        job_requests(job, SiteProfile({}, {}), {"array": 2})
