"""The card describes the dataset, and its code loads the dataset."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rayspin import job
from rayspin.job import Context
from rayspin.storage import open_dataset
from tests.support import datasets

SMALL = datasets.labyrinths(22, 16, seed=5, shard_samples=8, splits={"test": 2, "validation": 3})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "small labyrinths"
    job.run(SMALL, folder, Context(), shards="1/1")
    return folder


def test_the_card_says_what_is_there(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    energies = open_dataset(folder)["energy"]
    assert "22 spin configurations of 16 x 16 sites" in card
    assert "17 train, 2 validation" not in card
    assert "17 train, 3 validation, 2 test" in card
    assert f"{float(energies.mean()):.5f} +- {float(energies.std()):.5f} J" in card
    assert "hamiltonian.dmi | 0.3" in card
    assert "schedule.sweeps | 20" in card
    assert "(3 shards)" in card
    assert "process-hours" in card
    assert "numba" in card
    assert "None" not in card


def test_its_lines_load_the_dataset(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) == 3
    printed = subprocess.run(
        [sys.executable, "-c", code + "print(spins.sizes['sample'], float(energies.mean()))"],
        cwd=folder.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert printed == ["22", str(float(open_dataset(folder)["energy"].mean()))]


def test_its_pictures_are_there(folder: Path) -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (folder / "README.md").read_text())
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(folder / picture) as image:
            assert min(image.size) > 300
            colors = image.convert("RGB").getcolors(maxcolors=2**24)
            assert colors is not None
            assert len(colors) > 20


def test_it_grows_with_the_dataset(folder: Path, tmp_path: Path) -> None:
    before = (folder / "README.md").read_text()
    job.run(SMALL.with_updates(samples=30), folder, Context(), shards="1/1")
    after = (folder / "README.md").read_text()
    assert "30 spin configurations" in after
    digests = [re.search(r"`([0-9a-f]{64})`", card) for card in (before, after)]
    assert digests[0] is not None
    assert digests[1] is not None
    assert digests[0][1] != digests[1][1]


def test_a_grid_is_named_and_drawn_by_point(tmp_path: Path) -> None:
    grid = SMALL.model_validate(SMALL.to_table() | {"grid": {"hamiltonian.dmi": [0.2, 0.4]}})
    job.run(grid, tmp_path / "grid", Context(), shards="1/1")
    card = (tmp_path / "grid" / "README.md").read_text()
    assert "under 2 Hamiltonians and schedules in turn" in card
    assert "grid of hamiltonian.dmi | 0.2, 0.4" in card
    assert "`dmi` (sample)" in card
