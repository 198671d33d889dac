"""The style of figures: sizes, scale bars, keys, letters, palettes, and vector files that keep their text."""

from __future__ import annotations

import re
import zlib
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import TABLEAU_COLORS, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from rayspin.analysis.figures import (
    draw_application,
    draw_curves,
    draw_experiment,
    draw_resolution,
    draw_samples,
)
from rayspin.analysis.figures.pictures import Panel
from rayspin.analysis.figures.spins import show_values
from rayspin.analysis.figures.style import LINES, PALETTE
from rayspin.errors import InputError
from rayspin.figure_files import figures_also_as

POINTS_PER_MM = 72 / 25.4


def spins(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(columns).normal(size=(rows, columns, 3))


def texts(svg: str) -> list[str]:
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


@pytest.mark.parametrize(("coarse", "fine", "length"), [(16, 128, 20), (32, 32, 5), (4, 8, 2), (128, 1000, 200)])
def test_scale_bar_has_the_length_that_it_says_in_sites_of_the_fine_spins(
    tmp_path: Path, coarse: int, fine: int, length: int
) -> None:
    draw_resolution([{"coarse": spins(4, coarse), "fine": spins(4, fine)}], tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    (bar,) = re.findall(r'id="scale-bar">\s*<path d="M ([\d.]+) [\d.]+ \s*L ([\d.]+)', svg)
    # The frames of the pictures, of which the first one is that of the coarse spins.
    width = float(re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"', svg)[0])
    (label,) = [text for text in texts(svg) if "site" in text]
    assert label == f"{length} sites"
    assert (float(bar[1]) - float(bar[0])) / width == pytest.approx(length / fine, rel=1e-4)


@pytest.mark.parametrize("components", [1, 3])
def test_large_pictures_are_sampled_and_keep_their_scale(tmp_path: Path, components: int) -> None:
    draw_application({"a": spins(64, 4096)[..., -components:]}, tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert [text for text in texts(svg) if "site" in text] == ["1000 sites"]
    axis = Figure().add_subplot()
    show_values(axis, spins(64, 4096)[..., -components:], "a")
    assert axis.images[0].get_array().shape[:2] == (16, 1024)


def test_samples_of_different_sizes_have_scale_bars_of_their_own(tmp_path: Path) -> None:
    draw_samples([spins(16, 16), spins(16, 16), spins(128, 128)], ["a", "b", "c"], tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert [text for text in texts(svg) if "site" in text] == ["2 sites", "20 sites"]


def test_panels_are_lettered_and_rows_if_panels_are_more_than_letters(tmp_path: Path) -> None:
    panels = [Panel({"one": ([1, 2], [3.0, 4.0])}, "x", "y", title="curve")]
    draw_experiment([[("first", spins(8, 8)), ("second", spins(8, 8))]], panels, tmp_path / "a.svg")
    found = texts((tmp_path / "a.svg").read_text())
    assert {"(a) first", "(b) second", "(c) curve"} <= set(found)
    draw_samples([spins(2, 2)] * 30, ["s"] * 30, tmp_path / "b.svg")
    found = texts((tmp_path / "b.svg").read_text())
    assert [text for text in found if text.startswith("(")] == [f"({letter}) s" for letter in "abcde"]
    draw_curves({"loss": [2.0, 1.0]}, "epoch", "loss", tmp_path / "c.svg", title="one panel")
    assert "one panel" in texts((tmp_path / "c.svg").read_text())


def test_figures_have_the_widths_of_journals_and_text_that_is_printed_at_6_points_at_least(tmp_path: Path) -> None:
    draw_curves({"loss": [2.0, 1.0]}, "epoch", "loss", tmp_path / "one.svg", log=True)
    draw_samples([spins(8, 8)] * 9, ["sample"] * 9, tmp_path / "two.svg")
    for name, width in (("one", 89), ("two", 183)):
        svg = (tmp_path / f"{name}.svg").read_text()
        (found,) = re.findall(r'<svg [^>]*?width="([\d.]+)pt"', svg)
        assert float(found) == pytest.approx(width * POINTS_PER_MM, rel=1e-3)
        # Exponents are smaller than the numbers that they belong to.
        sizes = {float(size) for size in re.findall(r"<text style=\"font-size: ([\d.]+)px", svg)}
        assert 6 <= min(sizes) <= max(sizes) <= 8


def test_hue_wheel_is_oriented_as_the_axes_of_the_pictures(tmp_path: Path) -> None:
    """In a figure of spins along +z, which are white, only the key has colors: hue grows counterclockwise from +x."""
    up = np.zeros((8, 8, 3))
    up[..., 2] = 1
    draw_application({"up": up}, tmp_path / "up.png")
    pixels = np.asarray(Image.open(tmp_path / "up.png").convert("RGB")) / 255
    colored = np.argwhere(np.ptp(pixels, axis=-1) > 0.5)
    middle = (colored.min(axis=0) + colored.max(axis=0)) / 2
    for degrees, color in ((0, (1, 0, 0)), (90, (0.5, 1, 0)), (180, (0, 1, 1)), (270, (0.5, 0, 1))):
        down, right = np.argwhere(np.abs(pixels - color).max(axis=-1) < 0.1).mean(axis=0) - middle
        turned = np.degrees(np.arctan2(-down, right)) - degrees
        assert abs((turned + 180) % 360 - 180) < 15


def test_keys_of_both_kinds_of_colors_do_not_overlap(tmp_path: Path) -> None:
    draw_application({"measured": spins(8, 8)[..., 2:], "fine": spins(8, 8)}, tmp_path / "a.svg")
    images = re.findall(r"<image [^>]*>", (tmp_path / "a.svg").read_text())
    spans = sorted(
        [float(re.findall(rf' {name}="([-\d.]+)"', image)[0]) for name in ("x", "width")] for image in images
    )
    assert len(spans) == 4
    assert all(x + width <= next_x for (x, width), (next_x, _) in pairwise(spans))


def test_one_component_is_gray_from_black_at_minus_1_to_white_at_1(tmp_path: Path) -> None:
    levels = np.array([-1.0, 0.0, 1.0]).repeat(5)[None, :, None].repeat(15, axis=0)
    draw_application({"S_z": levels}, tmp_path / "gray.png")
    pixels = np.asarray(Image.open(tmp_path / "gray.png").convert("RGB"))
    assert np.ptp(pixels, axis=-1).max() == 0
    values, counts = np.unique(pixels[..., 0], return_counts=True)
    assert {0, 255} < set(values[counts > 1000].tolist())
    assert any(126 <= value <= 129 for value in values[counts > 1000])


# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009): complete protan-, deuter- and
# tritanopia, for linear RGB.
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color: str, blindness: str) -> np.ndarray:
    """CIELAB (D65) of a color as it is seen."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.array(matrix) @ seen / (0.9505, 1.0, 1.089)
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def nearest(palette: tuple[str, ...], blindness: str) -> float:
    """Distance in CIELAB of the two colors that are most alike."""
    return min(np.linalg.norm(lab(a, blindness) - lab(b, blindness)) for a, b in combinations(palette, 2))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colors_of_lines_differ_for_any_color_vision(blindness: str) -> None:
    """A difference of 2.3 is just noticed; of matplotlib's default colors, two are alike for some people."""
    assert nearest(PALETTE, blindness) > 10
    assert min(np.linalg.norm(lab(color, blindness) - lab("white", blindness)) for color in PALETTE) > 30
    if blindness in ("protanopia", "deuteranopia"):
        assert nearest(tuple(TABLEAU_COLORS), blindness) < 10


def test_lines_differ_without_colors() -> None:
    assert len({(style["linestyle"], style["marker"]) for style in LINES}) == len(LINES) == 28


def test_text_of_vector_files_is_text_in_embedded_true_type_fonts(tmp_path: Path) -> None:
    path = tmp_path / "curves.pdf"
    with figures_also_as(["svg"]):
        draw_curves({"validation_loss": [2.0, 1.0]}, "epoch", "loss in J", path, title="training")
    content = path.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    streams = re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    drawn = [text for part in streams for text in re.findall(rb"BT(.*?)ET", zlib.decompress(part), re.DOTALL)]
    # Letters of two bytes, and between them their distances.
    shown = [b"".join(re.findall(rb"\((.*?)\)", text)) for text in drawn]
    assert {"epoch", "loss in J", "training", "validation loss"} <= {part.decode("utf-16-be") for part in shown}
    svg = (tmp_path / "curves.svg").read_text()
    assert {"epoch", "loss in J", "training", "validation loss"} <= set(texts(svg))


def test_equal_data_give_equal_files(tmp_path: Path) -> None:
    for suffix in ("png", "pdf", "svg"):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        for path in (one, two):
            draw_samples([spins(4, 4)], ["sample"], path)
        assert one.read_bytes() == two.read_bytes()


def test_file_of_another_kind_is_refused_before_drawing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give one of \.png, \.pdf, \.svg"):
        draw_samples([spins(4, 4)], ["sample"], tmp_path / "sample.gif")
    assert not list(tmp_path.iterdir())
