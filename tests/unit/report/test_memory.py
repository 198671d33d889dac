"""Galleries keep only the sites that the page shows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.analysis.frames import Frames, read_frames, write_frames
from rayspin.report.blocks import Gallery
from rayspin.report.datasets import _samples
from rayspin.report.evaluations import _galleries
from rayspin.storage import Catalog
from tests.support import datasets

SIDE = 264
"""Sites along a side: more than an image has pixels, so every second row and column is shown."""
SHOWN = SIDE // 2
SAMPLE_BYTES = 12 * SIDE**2


def bytes_kept(gallery: Gallery) -> int:
    """Size of the arrays of a gallery and of those that they are views of, bytes."""
    panels: list[Any] = [panel for slides in gallery.tabs.values() for panel in slides.panels.values()]
    return sum((panel if panel.base is None else panel.base).nbytes for panel in panels)


@pytest.mark.parametrize("compression", ["none", "zlib"])
@pytest.mark.parametrize("grid", [{}, {"schedule.end_temperature": [0.1, 0.2]}])
def test_gallery_of_a_dataset_has_one_whole_sample_in_memory(
    tmp_path: Path, grid: dict[str, Any], compression: str
) -> None:
    schedule = {"sweeps": 1, "quench_sweeps": 0}
    stage = datasets.labyrinths(8, SIDE, schedule=schedule, grid=grid, storage={"compression": compression})
    catalog = Catalog.open(datasets.make(stage, tmp_path / "data"))
    whole = catalog.reader().read(range(8))
    _samples(catalog)
    tracemalloc.start()
    gallery = _samples(catalog)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (slides,) = gallery.tabs.values()
    shown = np.concatenate([panel[:, None] for panel in slides.panels.values()], axis=1)
    # Points take turns, so the samples of a point are every second one.
    expected = whole.reshape(-1, 2, SIDE, SIDE, 3).swapaxes(0, 1) if grid else whole[None]
    np.testing.assert_array_equal(shown, expected[:, :, ::2, ::2])
    assert bytes_kept(gallery) == 8 * SAMPLE_BYTES / 4
    assert peak < 5 * SAMPLE_BYTES


def test_gallery_of_frames_keeps_the_sites_that_are_shown(tmp_path: Path) -> None:
    spins = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3))
    spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
    write_frames(Frames("noise", "iteration", ["0", "1"], {"network": spins}), tmp_path, "noise")
    (gallery,) = _galleries(tmp_path)
    assert isinstance(gallery, Gallery)
    panel = gallery.tabs["noise"].panels["network"]
    np.testing.assert_array_equal(panel, read_frames(tmp_path / "frames-noise.npz").panels["network"][:, ::2, ::2])
    assert bytes_kept(gallery) == panel.nbytes
