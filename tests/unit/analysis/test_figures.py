"""Colors of spins, as in both papers, and the space in pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayspin.analysis.figures import draw_heat_map, spin_colors


@pytest.mark.parametrize(
    ("spin", "color"),
    [
        ((0, 0, 1), (1, 1, 1)),
        ((0, 0, -1), (0, 0, 0)),
        ((1, 0, 0), (1, 0, 0)),
        ((-1, 0, 0), (0, 1, 1)),
        ((0, 0, 0), (0.5, 0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("length", [1.0, 0.1])
def test_color_is_that_of_the_direction(spin: tuple[float, ...], color: tuple[float, ...], length: float) -> None:
    np.testing.assert_allclose(spin_colors(length * np.array([[spin]], float))[0, 0], color, atol=1e-12)


def test_long_labels_leave_room_for_the_table(tmp_path: Path) -> None:
    """Matplotlib warns, which fails a test, if the labels leave no room."""
    damage = "damage noise={0} rows={0} square={0} one_component={0}"
    tables = [f"target=deviation uniform_states=0.1 {damage.format(share)}" for share in (0.011, 0.022, 0.033, 0.044)]
    rows, columns = ("filters", ["[32, 64]", "[48, 72]"]), ("objective", tables)
    draw_heat_map(np.arange(8.0).reshape(2, 4), rows, columns, "loss", tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 0
