"""The commands and the Python code of the README and of the documentation run, each page in a folder of its own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rayspin.cli import main
from rayspin.physics import LABYRINTH, LABYRINTH_SCHEDULE, Degradation, anneal
from rayspin.storage import Catalog
from tests.support.pages import PAGES, blocks, commands, large, run
from tests.support.repository import REPOSITORY

CHECKED = {"README.md", "docs/first-dataset.md", "docs/first-slurm-run.md", "docs/apply.md"}
"""Pages whose outputs are checked. The others only have to run."""
PYTHON_TESTED_ELSEWHERE = {"docs/reconstruction.md"}
"""Pages whose Python code a unit test runs."""
OWN_PROCESS = ("run", "submit")
"""Commands that start Ray. The others run in this process, which saves the time of the imports."""


def run_command(command: list[str], folder: Path) -> str:
    if command[1] == "submit" and "local" not in command and "--dry-run" not in command:
        command = [*command, "--dry-run"]
    if command[1] in OWN_PROCESS:
        return run([sys.executable, "-m", *command], folder)
    done = CliRunner().invoke(main, command[1:])
    assert done.exit_code == 0, f"{shlex.join(command)}\n{done.output}"
    return done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the repository's job files and with the images of docs/apply.md."""
    (tmp_path / "jobs").symlink_to(REPOSITORY / "jobs")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_page(page: str, folder: Path) -> dict[str, str]:
    """Run the commands and then the Python code of a page. Returns the outputs of the commands."""
    for text in blocks("toml", PAGES[page])[:1]:
        (folder / "labyrinths.toml").write_text(text)
    asked = [command for command in commands(PAGES[page]) if command[0] == "rayspin" and not large(command)]
    outputs = {shlex.join(command): run_command(command, folder) for command in asked}
    if page not in PYTHON_TESTED_ELSEWHERE and (code := blocks("python", PAGES[page])):
        outputs["python"] = run([sys.executable, "-c", "\n".join(code)], folder)
    return outputs


def test_readme(folder: Path) -> None:
    outputs = run_page("README.md", folder)
    assert "'sample': 200" in outputs["python"]
    assert float(outputs["python"].split()[-1]) < -2.04


def test_first_dataset(folder: Path) -> None:
    outputs = run_page("docs/first-dataset.md", folder)
    assert (folder / "dataset.png").stat().st_size > 1000
    assert (folder / "network.png").stat().st_size > 1000
    *_, energy, error = outputs["python"].split()
    assert float(energy) < -2.04
    assert float(error) < 1e-5


def test_first_slurm_run(folder: Path) -> None:
    outputs = run_page("docs/first-slurm-run.md", folder)
    assert any(output.startswith("#!/bin/bash\n") for output in outputs.values()), "no dry run printed a script"
    assert len(Catalog.read(folder / "runs" / "generate").records) == 2


def test_apply(folder: Path) -> None:
    spins = anneal(LABYRINTH, size=128, schedule=LABYRINTH_SCHEDULE, seed=(1, 0))
    levels = np.uint8(np.clip(127.5 + 100 * spins[..., 2], 0, 255))
    Image.fromarray(levels[::-1]).save("image.png")
    np.savez("coarse.npz", spins=Degradation().apply(spins, 8)[None])
    run_page("docs/apply.md", folder)
    assert (folder / "fine.ovf").exists()


@pytest.mark.parametrize("page", sorted(PAGES.keys() - CHECKED))
def test_other_pages(page: str, folder: Path) -> None:
    run_page(page, folder)
