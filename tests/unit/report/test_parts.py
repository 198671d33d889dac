"""Frames, images, the comparison with published values, and the diversity of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayspin.analysis.frames import MOST_FRAMES, Frames, few_frames, read_frames, write_frames
from rayspin.analysis.published import FIELD_MSE, published_estimation, published_resolution
from rayspin.errors import InputError
from rayspin.report.datasets import _overlaps
from rayspin.report.images import DETAILS, Detail, spins_uri, wheel_uri
from tests.support.damaged_arrays import NPZ
from tests.support.html_pages import decoded


def random_spins(shape: tuple[int, int], seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_frames_are_read_as_written(tmp_path: Path) -> None:
    spins_IYXC = np.stack([random_spins((5, 7), seed) for seed in range(3)])
    frames = Frames("noise", "iteration", ["0", "1", "10"], {"network": spins_IYXC, "sample": spins_IYXC[:1, :2]})
    write_frames(frames, tmp_path, "noise")
    found = read_frames(tmp_path / "frames-noise.npz")
    assert (found.title, found.axis, found.positions) == ("noise", "iteration", ["0", "1", "10"])
    assert list(found.panels) == ["network", "sample"]
    np.testing.assert_allclose(found.panels["network"], spins_IYXC, atol=0.5 / 127 + 1e-6)
    assert found.panels["sample"].shape == (1, 2, 7, 3)


def test_directions_of_long_vectors_are_kept(tmp_path: Path) -> None:
    long = np.array([3.0, -4.0, 0.0]).reshape(1, 1, 1, 3)
    write_frames(Frames("", "", [""], {"": long}), tmp_path, "long")
    np.testing.assert_allclose(read_frames(tmp_path / "frames-long.npz").panels[""][0, 0, 0], [0.75, -1, 0], atol=0.01)


@pytest.mark.parametrize("damage", NPZ)
def test_damaged_frames_are_refused(tmp_path: Path, damage: str) -> None:
    write_frames(Frames("a", "iteration", ["0"], {"a": random_spins((5, 7), 0)[None]}), tmp_path, "a")
    path = tmp_path / "frames-a.npz"
    path.write_bytes(NPZ[damage](path.read_bytes()))
    with pytest.raises(InputError, match="is not a file of frames"):
        read_frames(path)


@pytest.mark.parametrize("last", [0, 1, 10, MOST_FRAMES, 100, 5000])
def test_few_frames_have_both_ends(last: int) -> None:
    steps = few_frames(last)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, last)
    assert len(steps) <= MOST_FRAMES


def test_spins_are_drawn_with_y_up() -> None:
    spins_YXC = np.zeros((2, 2, 3))
    spins_YXC[0, 0], spins_YXC[0, 1], spins_YXC[1, 0], spins_YXC[1, 1] = [0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 0, 0]
    image = np.asarray(decoded(spins_uri(spins_YXC, DETAILS[0])))
    # The first row of the array is the lower one of the image: white is +z, black -z, red +x; no direction is gray.
    assert image[1].tolist() == [[255, 255, 255], [0, 0, 0]]
    assert image[0].tolist() == [[255, 0, 0], [128, 128, 128]]


def test_large_spins_are_made_smaller() -> None:
    assert decoded(spins_uri(random_spins((100, 40), 1), Detail(50, 100, 80))).size == (20, 50)


@pytest.mark.parametrize("detail", DETAILS)
def test_noise_is_encoded(detail: Detail) -> None:
    assert max(decoded(spins_uri(random_spins((256, 256), 2), detail)).size) <= detail.side


def test_wheel_has_z_in_its_middle_and_nothing_outside() -> None:
    image = np.asarray(decoded(wheel_uri()))
    assert image[80, 80].min() > 230
    assert image[0, 0, 3] == 0


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.00165, "as published"), (0.00166, "worse"), (0.00154, "better"), (0.0, "better")]
)
def test_values_that_are_printed_alike_are_as_published(ours: float, verdict: str) -> None:
    assert published_resolution("labyrinth", 4)["network"].figures()["mse"].compare(ours) == verdict


def test_values_within_twice_their_standard_error_are_as_published() -> None:
    figure = published_resolution("labyrinth", 4)["network"].figures()["mse"]
    assert figure.compare(0.00174, 5e-5) == "as published"
    assert figure.compare(0.00176, 5e-5) == "worse"


@pytest.mark.parametrize(("ours", "verdict"), [(0.9976, "as published"), (0.9979, "better"), (1.2, "worse")])
def test_a_correlation_is_best_at_one(ours: float, verdict: str) -> None:
    assert published_resolution("labyrinth", 4)["network"].figures()["correlation"].compare(ours) == verdict


def test_published_psnr_is_that_of_the_definition() -> None:
    figure = published_resolution("labyrinth", 4)["network"].figures()["psnr"]
    assert (figure.text, figure.compare(33.94), figure.compare(40.0)) == ("33.94", "as published", "better")


def test_loss_of_the_same_order_is_as_published() -> None:
    assert FIELD_MSE.compare(1.2e-5) == "as published"
    assert FIELD_MSE.compare(2.5e-6) == "better"
    assert FIELD_MSE.compare(9e-5) == "worse"


def test_only_labyrinths_have_a_published_field() -> None:
    assert set(published_estimation("labyrinth")) == {"mse", "energy_agreement"}
    assert published_estimation("domain") == {}


def test_overlap_finds_shifted_copies() -> None:
    a_YXC, b_YXC = random_spins((16, 16), 1), random_spins((16, 16), 2)
    copy = np.roll(a_YXC, (3, -5), (0, 1))
    overlaps = _overlaps(np.stack([a_YXC, b_YXC, copy]))
    # Pairs in order: (a, b), (a, copy), (b, copy).
    assert overlaps[1] == pytest.approx(1, abs=1e-5)
    shifts = [np.vdot(a_YXC, np.roll(b_YXC, (y, x), (0, 1))) / 256 for y in range(16) for x in range(16)]
    assert overlaps[0] == pytest.approx(max(shifts), abs=1e-5)
