"""Labyrinths in files: as spins, as images of S_z, and as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rayspin.physics import LABYRINTH, LABYRINTH_SCHEDULE, anneal_many


@pytest.fixture(scope="session")
def labyrinth() -> npt.NDArray[np.float32]:
    """An annealed labyrinth, (96, 96, 3)."""
    spins: npt.NDArray[np.float32] = anneal_many(LABYRINTH, 96, LABYRINTH_SCHEDULE, [(77, 0)])[0]
    return spins


@pytest.fixture
def picture(labyrinth: npt.NDArray[np.float32], tmp_path: Path) -> Path:
    """S_z of the labyrinth as a gray image, with +y up."""
    path = tmp_path / "labyrinth.png"
    Image.fromarray(np.round(40 + 80 * (labyrinth[::-1, :, 2] + 1)).astype(np.uint8)).save(path)
    return path
