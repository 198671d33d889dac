"""The command line: help without slow imports, and mistakes reported in one line without writing files."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rayspin.cli import main
from rayspin.errors import InputError
from rayspin.execution.session import usable_cpus
from rayspin.job import KINDS
from tests.support.repository import JOBS

GOOD = (JOBS / "smoke" / "generate.toml").read_text()
TRAIN = 'kind = "train-fcn"\ndataset = "{dataset}"\ntraining = {{ batch_size = 4 }}\n'


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_help_imports_no_large_packages() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner; from rayspin.cli import main\n"
        "result = CliRunner().invoke(main, ['--help']); assert result.exit_code == 0, result.output\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'torch', 'ray', 'numba', 'numpy', 'pydantic', 'matplotlib', 'xarray', 'rich'}))"
    )
    assert run_python(code).strip() == "[]"


def test_python_m_rayspin_has_the_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "rayspin", "--help"], check=True, capture_output=True, text=True)
    for command in ("run", "check", "plan", "show", "schema", "submit"):
        assert f"\n  {command} " in done.stdout


def test_signal_during_shutdown_does_not_change_the_exit_code() -> None:
    """Python resets signal handlers before it deletes the objects of modules."""
    code = (
        "import os, signal, sys; from rayspin.__main__ import main\n"
        "from rayspin.execution.stopping import StopRequest\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM): kill(process, number)\n"
        "late = Late(); StopRequest().listen()\n"
        "sys.argv = ['rayspin', '--version']; main()"
    )
    assert run_python(code).startswith("rayspin")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('kind = "generate"\nsamples = = 3', "not valid TOML"),
        (
            GOOD.replace('kind = "generate"', 'kind = "genrate"'),
            "kind: unknown value 'genrate'; did you mean 'generate'?",
        ),
        (GOOD.replace('kind = "generate"', ""), "kind: missing key; add one of: generate"),
        (GOOD.replace("samples = 24", "sampels = 24"), "sampels: unknown key; did you mean 'samples'?"),
        (GOOD.replace("sweeps = 50,", "sweps = 50,"), "schedule.sweps: unknown key; did you mean 'sweeps'?"),
        (GOOD.replace("samples = 24", 'samples = "24"'), "samples: '24' is invalid; write a whole number"),
        (GOOD.replace("samples = 24", "samples = 0"), "samples: 0 is invalid; input should be greater than 0"),
        (GOOD.replace("samples = 24", ""), "samples: missing key; add it"),
        (GOOD.replace("size = 32", "size = [32, 32, 32]"), "size: "),
        (GOOD.replace("size = 32", "size = 31"), "odd"),
        (GOOD.replace('"labyrinth"', '"labyrint"'), "did you mean 'labyrinth'?"),
        (GOOD.replace('"labyrinth"', "{ exchange = nan }"), "hamiltonian.exchange: nan is invalid"),
        (GOOD.replace("test = 4", "test = 40"), "test and validation have 44 samples, of 24 in all"),
        (TRAIN.format(dataset="nowhere"), "nowhere: is not a dataset (no ledger)"),
        (TRAIN.format(dataset="@generate"), "no earlier stage '@generate' generates a dataset"),
        ('kind = "pipeline"\n[stages.a]\nkind = "generate"\nsampels = 3', "stages.a.sampels: unknown key"),
        ('kind = "pipeline"\nstages = {}', "stages: "),
    ],
)
def test_invalid_job_is_a_one_line_error_and_writes_nothing(
    invoke: object, tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "job.toml").write_text(text)
    for command in ("run", "check", "plan"):
        result = invoke(command, "job.toml")  # type: ignore[operator]
        assert result.exit_code == 2, result.output
        assert line in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]


def pipeline(train: str) -> str:
    stages = GOOD.replace("kind =", "[stages.make]\nkind =").replace("size = 32", "size = 40")
    return f'kind = "pipeline"\n{stages}\n[stages.train]\ndataset = "@make"\ntraining = {{ batch_size = 4 }}\n{train}'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            pipeline('kind = "train-sr"\nnetwork = { scale = 16 }'),
            "a lattice of 40 x 40 has no coarse version at scale 16",
        ),
        (pipeline('kind = "train-sr"\nnetwork = { scale = 5 }'), "stages.train.network.scale: 5 is invalid"),
        (pipeline('kind = "train-fcn"'), "use sides that are multiples of 16"),
        (pipeline('kind = "train-fcn"').replace("@make", "@mak"), "did you mean '@make'?"),
    ],
)
def test_incompatible_stages_are_refused_before_the_first_one_runs(
    invoke: object, tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "job.toml").write_text(text)
    result = invoke("run", "job.toml")  # type: ignore[operator]
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert line in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]


def test_missing_files_and_invalid_options_are_refused(invoke: object, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(GOOD)
    (tmp_path / "empty").mkdir()
    for arguments, line in [
        (("run", "nowhere.toml"), "nowhere.toml: no such file"),
        (("run", "job.toml", "--address", "127.0.0.1:1"), "--address 127.0.0.1:1: nothing answers"),
        (("run", "job.toml", "--address", "head"), "--address head: is not of the form HOST:PORT"),
        (("show", "nowhere"), "nowhere: no such file or folder"),
        (("show", "empty"), "neither dataset, run, shard nor weights"),
        (("show", "job.toml", "--out", "nowhere/a.png"), "--out: there is no folder nowhere; create it"),
        (("report", "empty", "--out", "nowhere/a.html"), "--out: there is no folder nowhere"),
        (("apply", "bicubic", "a.png", "--out", "job.toml/a.png"), "--out: there is no folder job.toml"),
        (("check", "job.toml", "--set", "samples"), "--set samples: not of the form key=value"),
        (("check", "job.toml", "--set", "samples.x=1"), "samples is not a table"),
        (("check", "job.toml", "--set", "schedule.sweep=1"), "schedule.sweep: unknown key; did you mean 'sweeps'?"),
    ]:
        result = invoke(*arguments)  # type: ignore[operator]
        assert result.exit_code == 2, result.output
        assert line in result.stderr


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "soon"])
def test_invalid_stop_after_is_refused(invoke: object, seconds: str) -> None:
    result = invoke("run", "jobs/smoke/generate.toml", "--stop-after", seconds)  # type: ignore[operator]
    assert result.exit_code == 2
    assert "--stop-after" in result.stderr


@pytest.mark.parametrize("cpus", ["0", "-1", "two", "1.5", ""])
def test_invalid_limit_of_cpus_is_refused(cpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSPIN_CPUS", cpus)
    with pytest.raises(InputError, match="RAYSPIN_CPUS"):
        usable_cpus()


def test_output_of_check_is_unchanged_by_another_check(invoke: object, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(GOOD)
    first = invoke("check", "job.toml", "--set", "schedule.sweeps=7", "--set", "seed=9")  # type: ignore[operator]
    resolved = tomllib.loads(first.stdout)
    assert (resolved["schedule"]["sweeps"], resolved["seed"]) == (7, 9)
    assert resolved["hamiltonian"]["exchange"] == 1.0
    (tmp_path / "again.toml").write_text(first.stdout)
    assert invoke("check", "again.toml").stdout == first.stdout  # type: ignore[operator]


def test_plan_counts_samples_shards_and_bytes(invoke: object, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(GOOD)
    result = invoke("plan", "job.toml")  # type: ignore[operator]
    assert "24 of 32 x 32, 0 done" in result.stdout
    assert "3 of up to 8 samples" in result.stdout
    assert f"{24 * 32 * 32 * 3 * 4 / 1e6:.1f} MB" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]


def test_plan_of_a_pipeline_counts_datasets_that_do_not_exist_yet(invoke: object, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text((JOBS / "smoke" / "pipeline.toml").read_text())
    result = invoke("plan", "job.toml")  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    for part in ("16 of 32 x 32, 0 done", "1, 0 done", "4 of the split 'test', 0 done"):
        assert part in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]


@pytest.mark.parametrize("path", sorted(JOBS.rglob("*.toml")), ids=lambda path: str(path.relative_to(JOBS)))
def test_each_job_file_is_valid_and_starts_with_a_comment(path: Path) -> None:
    from rayspin.job import load

    assert path.read_text().startswith("# ")
    load(path)


def test_schema_has_each_kind_and_its_keys(invoke: object) -> None:
    schema = json.loads(invoke("schema").stdout)  # type: ignore[operator]
    assert set(schema["$defs"]) == set(KINDS)
    assert schema["$defs"]["generate"]["properties"]["samples"]["exclusiveMinimum"] == 0
    assert not schema["$defs"]["generate"]["additionalProperties"]
