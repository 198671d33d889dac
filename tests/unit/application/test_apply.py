"""Networks and methods applied to files: results against the exact ones, tiles, and the files that are written."""

from __future__ import annotations

import dataclasses
import json

import netCDF4
import numpy as np
import pytest
import torch
from PIL import Image

from rayspin.application import apply_to, operation, to_sites
from rayspin.application.networks import FieldEstimate
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.levels import Levels
from rayspin.imaging.ovf import read_ovf
from rayspin.models import EffectiveFieldNetConfig, FieldUNetConfig, pretrained, save_weights
from rayspin.physics import LABYRINTH, Degradation, effective_field
from rayspin.reconstruction import reconstruct
from tests.support import datasets

INSIDE = slice(24, -24)
"""Sites that are far from the edges, in one direction."""


def squared(values, truth):
    return np.square(values - truth, dtype=np.float64).mean()


def test_field_of_periodic_spins_is_that_of_the_network(labyrinth, tmp_path):
    np.save(tmp_path / "spins.npy", labyrinth)
    found = apply_to(tmp_path / "spins.npy", "labyrinth-field", edges="periodic")
    np.testing.assert_array_equal(found.values_NYXC[0], pretrained("labyrinth-field").field(labyrinth))
    assert found.operation.quantity == "field"
    # Without knowledge of what lies beyond the edges, the field is wrong near them only.
    mirrored = apply_to(tmp_path / "spins.npy", "labyrinth-field").values_NYXC[0]
    exact = effective_field(labyrinth, LABYRINTH)
    assert squared(mirrored, exact) < 2e-4
    assert squared(mirrored[INSIDE, INSIDE], exact[INSIDE, INSIDE]) < 1e-5


def test_tiles_do_not_change_a_field():
    torch.manual_seed(0)
    network = FieldUNetConfig(patch=2, filters=(4, 4)).build()
    rng = np.random.default_rng(0)
    spins = rng.normal(size=(1, 150, 170, 3)).astype(np.float32)
    given = Input("random", spins, np.ones(spins.shape[:3], bool), "mirrored")
    tiled = FieldEstimate(title="field", origin={}, hamiltonian=None, quantity="field", network=network, side=80)
    assert 2 * network.config.reach + 8 <= 80
    whole = dataclasses.replace(tiled, side=1024)
    np.testing.assert_allclose(tiled(given), whole(given), rtol=1e-5, atol=1e-6)
    assert tiled(given).shape == (1, 150, 170, 3)


def test_blocks_of_large_images_do_not_change_a_field():
    torch.manual_seed(1)
    network = EffectiveFieldNetConfig(encoder_filters=(2, 2, 2, 2)).build().eval()
    spins = np.random.default_rng(1).standard_normal((1, 320, 288, 3)).astype(np.float32)
    given = Input("noise", spins, np.ones((1, 320, 288), bool), "periodic")
    whole = FieldEstimate(title="", origin={}, hamiltonian=None, network=network, quantity="field")
    calls: list[int] = []
    network.register_forward_hook(lambda _module, inputs, _output: calls.append(inputs[0].shape[-1]))
    expected = whole(given)
    assert len(calls) == 1
    np.testing.assert_allclose(dataclasses.replace(whole, block=256)(given), expected, atol=1e-5)
    assert len(calls) == 1 + 3 * 3


def test_image_of_one_component_gives_all_components_of_the_field(labyrinth, picture):
    exact = effective_field(labyrinth, LABYRINTH)
    found = apply_to(picture, "labyrinth-field", sites_per_pixel=1)
    error = squared(found.values_NYXC[0, INSIDE, INSIDE], exact[INSIDE, INSIDE])
    assert error < 0.02 < 1e-2 * np.square(exact).mean()
    dark, bright = map(float, found.figures()["gray levels of S_z = -1, +1"].split(", "))
    with Image.open(picture) as image:
        assert np.asarray(image).min() <= dark < bright <= np.asarray(image).max()


def test_larger_image_is_resized_to_the_period_of_the_training_data(picture, tmp_path):
    with Image.open(picture) as image:
        image.resize((240, 240), Image.Resampling.BICUBIC).save(tmp_path / "large.png")
    found = apply_to(tmp_path / "large.png", "labyrinth-field", iterations=10)
    assert found.sites_per_pixel == pytest.approx(0.4, rel=0.1)
    assert found.values_NYXC.shape[1:] == (*[round(240 * found.sites_per_pixel)] * 2, 3)
    np.testing.assert_allclose(np.linalg.norm(found.values_NYXC, axis=-1), 1, atol=1e-5)
    # A labyrinth's energy: the handedness of the spins is right.
    assert float(found.figures()["energy per site"].removesuffix(" J")) < -2.02


@pytest.mark.parametrize("factor", [0.6, 1.37, 2])
def test_resized_pixels_at_a_mask_keep_their_value(factor):
    known = np.ones((1, 40, 40), bool)
    known[0, 10:20, 15:30] = False
    given = Input("up", known[..., None].astype(np.float32), known, "mirrored", gray=True)
    found, _ = to_sites(given, operation("bicubic", scale=2), factor)
    assert not found.known_NYX.all()
    np.testing.assert_allclose(found.spins_NYXC[found.known_NYX], 1, atol=1e-6)
    assert not found.spins_NYXC[~found.known_NYX].any()


def test_sample_of_a_dataset_is_compared_with_the_exact_result(tmp_path):
    stage = datasets.labyrinths(6, 64, splits={"test": 2, "validation": 0})
    data = datasets.make(stage, tmp_path / "data")
    for what in ("labyrinth-field", "labyrinth-x8"):
        found = apply_to(data, what, samples=2)
        assert len(found.values_NYXC) == len(found.truth_NYXC) == 2
        error = found.figures()["mean squared error of a component"].split()[0]
        assert float(error) == pytest.approx(squared(found.values_NYXC, found.truth_NYXC), rel=0.01)


@pytest.mark.parametrize("method", ["bicubic", "fourier", "projections"])
def test_methods_refine_the_component_of_an_image(labyrinth, method):
    coarse = Degradation().apply(labyrinth[None], 4)[..., 2:]
    given = Input("S_z", coarse, np.ones(coarse.shape[:3], bool), "periodic")
    found = operation(method, scale=4)(given)
    np.testing.assert_array_equal(found, reconstruct(coarse, 4, method).spins)
    assert squared(found, labyrinth[None, ..., 2:]) < 0.01


def test_map_makes_three_components_and_fills_masked_pixels(labyrinth, tmp_path):
    coarse = Degradation().apply(labyrinth[None], 4)
    np.savez(tmp_path / "coarse.npz", coarse=coarse[..., 2:])
    hidden = np.full((24, 24), 255, np.uint8)
    hidden[3, 5] = 0
    Image.fromarray(hidden).save(tmp_path / "mask.png")
    found = apply_to(
        tmp_path / "coarse.npz", "map", scale=4, hamiltonian="labyrinth", edges="periodic", mask=tmp_path / "mask.png"
    )
    # The first row of an image is its topmost.
    assert not found.input.known_NYX[0, 24 - 1 - 3, 5]
    assert found.figures()["unknown pixels"] == "1"
    assert squared(found.values_NYXC[0], labyrinth) < 1e-3


def test_three_images_make_three_components(labyrinth, tmp_path):
    coarse = Degradation().apply(labyrinth[None], 8)[0]
    files = []
    for component, name in enumerate("xyz"):
        files.append(tmp_path / f"{name}.tif")
        Image.fromarray(coarse[::-1, :, component].astype(np.float32)).save(files[-1])
    network = operation("labyrinth-x8")
    found = apply_to(files, network, levels=Levels(limits=(-1, 1)), edges="periodic", sites_per_pixel=1)
    assert squared(found.values_NYXC[0], labyrinth) < 1e-3


def test_component_without_signal_stays_without(tmp_path):
    """Parallel walls of stripes, whose spins have no y component: its image has noise alone."""
    rows = np.arange(128)[:, None] * np.ones(128)
    angle = 2 * np.pi * rows / 32
    spins = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=-1)
    gray = 130 + 57 * (spins + np.random.default_rng(4).normal(0, 0.02, spins.shape))
    files = [tmp_path / f"{name}.tif" for name in "xyz"]
    for component, file in enumerate(files):
        Image.fromarray(gray[::-1, :, component].astype(np.float32)).save(file)
    found = apply_to(files, "bicubic", scale=2, levels=Levels(smoothing=0)).input
    errors = np.sqrt(np.square(found.spins_NYXC[0] - spins).mean(axis=(0, 1)))
    assert (errors < 0.1).all(), errors
    assert found.levels == pytest.approx((73, 187), abs=5)


def test_files_hold_the_result_and_its_origin(labyrinth, picture, tmp_path):
    found = apply_to(picture, "labyrinth-field", sites_per_pixel=1)
    for suffix in ("nc", "npz", "ovf", "png"):
        found.save(tmp_path / f"result.{suffix}")
    with netCDF4.Dataset(tmp_path / "result.nc") as file:
        np.testing.assert_array_equal(file["field"][...], found.values_NYXC)
        np.testing.assert_array_equal(file["input"][...], found.input.spins_NYXC)
        assert (file.weights, file.units, file.edges) == ("labyrinth-field", "J", "mirrored")
        assert len(file.weights_sha256) == len(file.input_sha256) == 64
        assert json.loads(file.hamiltonian)["dmi"] == 0.3
    with np.load(tmp_path / "result.npz") as arrays:
        np.testing.assert_array_equal(arrays["field"], found.values_NYXC)
    np.testing.assert_array_equal(read_ovf(tmp_path / "result.ovf"), found.values_NYXC)
    with Image.open(tmp_path / "result.png") as image:
        assert min(image.size) > 200
    with pytest.raises(InputError, match=r"give one of \.nc"):
        found.save(tmp_path / "result.txt")


def test_weights_of_a_training_are_found_by_file_and_by_folder(tmp_path, picture):
    network = FieldUNetConfig(patch=2, filters=(4, 4)).build().eval()
    save_weights(tmp_path / "best.safetensors", network, {})
    results = [apply_to(picture, what).values_NYXC for what in (tmp_path, tmp_path / "best.safetensors")]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "labyrinth-fiel"}, "labyrinth-fiel: is not a weight file.*did you mean 'labyrinth-field'"),
        ({"what": "projections"}, "scale: the method 'projections' needs one"),
        ({"what": "map", "scale": 4}, 'hamiltonian: the method "map" needs one'),
        ({"what": "wiener", "scale": 4}, "'wiener' needs more than an image"),
        ({"what": "labyrinth-x8"}, "a network needs all components, not S_z alone"),
        ({"what": "labyrinth-x8", "iterations": 3}, "iterations: isn't used"),
        ({"what": "labyrinth-x8", "scale": 4}, "scale: is 4, and the network reconstructs at scale 8"),
        ({"what": "labyrinth-field", "scale": 4}, "scale: isn't used"),
        ({"what": "bicubic", "scale": 4, "iterations": 1}, "iterations: isn't used"),
        ({"what": "bicubic", "scale": 4, "sites_per_pixel": "auto"}, "sites_per_pixel: the period"),
        ({"what": "labyrinth-field", "sites_per_pixel": 0}, "sites_per_pixel: 0 is invalid"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, picture):
    with pytest.raises(InputError, match=message) as caught:
        apply_to(picture, arguments.pop("what"), **arguments)
    assert "\n" not in str(caught.value)


def test_image_of_one_color_and_a_single_pixel_are_refused(tmp_path):
    for name, side in (("gray", 64), ("pixel", 1)):
        Image.fromarray(np.full((side, side), 128, np.uint8)).save(tmp_path / f"{name}.png")
        with pytest.raises(InputError, match="has the same gray level"):
            apply_to(tmp_path / f"{name}.png", "labyrinth-field")
