"""The commands and the Python code of the README run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayspin.cli import main
from rayspin.storage import Catalog
from tests.support.readme import COMMANDS, blocks, run
from tests.support.repository import REPOSITORY


def run_in_process(arguments: list[str]) -> str:
    """Run a command in this process, which saves the time of the imports."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, f"{shlex.join(arguments)}\n{done.output}"
    return done.output


def test_commands_and_python_code_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").symlink_to(REPOSITORY / "jobs")
    monkeypatch.chdir(tmp_path)
    outputs = {}
    for command in (command for command in COMMANDS if command[0] == "rayspin"):
        separate = command[1] in ("run", "submit")
        outputs[shlex.join(command)] = (
            run([sys.executable, "-m", *command], tmp_path) if separate else run_in_process(command[1:])
        )
    assert outputs.keys() == {shlex.join(command) for command in COMMANDS if command[0] == "rayspin"}
    assert (tmp_path / "dataset.png").stat().st_size > 1000
    assert (tmp_path / "network.png").stat().st_size > 1000
    assert any(output.startswith("#!/bin/bash\n") for output in outputs.values()), "no dry run printed a script"

    (code,) = blocks("python")
    assert float(run([sys.executable, "-c", code], tmp_path)) < -1.9

    submitted = tmp_path / "runs" / "submitted"
    assert [record.sha256 for record in Catalog.read(submitted).records] == [
        record.sha256 for record in Catalog.read(tmp_path / "runs" / "generate").records
    ]
