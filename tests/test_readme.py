"""What the README says is true: its commands run, its code runs, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayspin.cli import main
from rayspin.cluster.stage import build_stage
from rayspin.job import KINDS
from rayspin.storage import VARIABLES, Catalog

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]


def run(command: list[str], folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_here(arguments: list[str]) -> str:
    """A command in this process, which has imported already what that takes."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, f"{shlex.join(arguments)}\n{done.output}"
    return done.output


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_every_command_and_the_python_code_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").symlink_to(REPOSITORY / "jobs")
    monkeypatch.chdir(tmp_path)
    outputs = {}
    for command in (command for command in COMMANDS if command[0] == "rayspin"):
        works = command[1] in ("run", "submit")
        outputs[shlex.join(command)] = (
            run([sys.executable, "-m", *command], tmp_path) if works else run_here(command[1:])
        )
    assert outputs.keys() == {shlex.join(command) for command in COMMANDS if command[0] == "rayspin"}
    assert (tmp_path / "dataset.png").stat().st_size > 1000
    assert (tmp_path / "network.png").stat().st_size > 1000
    assert any(output.startswith("#!/bin/bash\n") for output in outputs.values()), "a dry run prints the script"

    (code,) = blocks("python")
    assert float(run([sys.executable, "-c", code], tmp_path)) < -1.9

    submitted = tmp_path / "runs" / "submitted"
    assert [record.sha256 for record in Catalog.read(submitted).records] == [
        record.sha256 for record in Catalog.read(tmp_path / "runs" / "generate").records
    ]


@pytest.mark.parametrize("target", [command[1] for command in COMMANDS if command[0] == "make"])
def test_every_make_target_is_there(target: str) -> None:
    assert run(["make", "--dry-run", target], REPOSITORY)


def test_nothing_else_is_among_the_commands() -> None:
    assert {command[0] for command in COMMANDS} == {"make", "rayspin"}


def test_the_job_file_is_one() -> None:
    for text in blocks("toml"):
        build_stage(tomllib.loads(text), "README.md")


def test_every_kind_of_job_and_every_variable_is_named() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in README
    rows = [
        f"| `{v.name}` | {', '.join(v.dimensions)} | {v.dtype} | {v.units} | {v.long_name} |"
        for v in VARIABLES.values()
    ]
    (table,) = re.findall(r"<!-- variables -->\n(.*?)<!-- /variables -->", README, flags=re.DOTALL)
    assert table.splitlines()[2:] == rows


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert "docs/quickstart.png" in local
    for target in local:
        assert (REPOSITORY / target).exists(), target
