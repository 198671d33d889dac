"""The rows of the tables, on methods whose figures are known."""

import numpy as np
import pytest

from rayspin.analysis.resolution import (
    by_network,
    evaluate_resolution,
    normalized,
    resolution_rows,
    statistics,
    statistics_row,
)
from rayspin.errors import InputError
from rayspin.models import SuperResolutionNetConfig
from rayspin.physics import Hamiltonian


def _uniform(count):
    spins = np.zeros((count, 16, 16, 3), np.float32)
    spins[..., 2] = 1
    return spins


def test_a_method_that_gives_half_the_truth_is_right_after_normalization():
    fine = _uniform(3)
    rows = evaluate_resolution({"half": lambda _coarse, _scale: fine / 2}, fine, fine[:, ::4, ::4], 4)
    raw, unit = rows["half"].raw, rows["half"].normalized
    assert raw.mse == pytest.approx(np.full(3, 0.25 / 3))
    assert raw.correlation == pytest.approx(np.full(3, 0.5))
    assert raw.psnr == pytest.approx(np.full(3, 10 * np.log10(4 * 12)))
    assert unit.mse == pytest.approx(np.zeros(3))
    assert unit.correlation == pytest.approx(np.ones(3))


def test_a_method_sees_coarse_spins_only():
    seen = []

    def method(coarse, scale):
        seen.append((coarse.shape, scale))
        return np.zeros((2, 16, 16, 3), np.float32)

    evaluate_resolution({"zero": method}, _uniform(2), _uniform(2)[:, ::8, ::8], 8)
    assert seen == [((2, 2, 2, 3), 8)]


def test_a_network_is_a_method_of_its_own_scale():
    method = by_network(SuperResolutionNetConfig(scale=4, expanding_filters=(4,)).build())
    assert method(np.zeros((2, 4, 8, 3)), 4).shape == (2, 16, 32, 3)
    with pytest.raises(InputError, match="has scale 4, not 8"):
        method(np.zeros((2, 4, 4, 3)), 8)


def test_normalization_leaves_zero_at_zero():
    spins = np.array([[[[3.0, 0, 4.0], [0, 0, 0]]]], np.float32)
    assert normalized(spins) == pytest.approx(np.array([[[[0.6, 0, 0.8], [0, 0, 0]]]]))


def test_further_figures_are_of_the_normalized_output_under_the_true_hamiltonian():
    fine = _uniform(2)
    turned = np.roll(fine, 1, axis=-1) * np.float32(0.5)  # along x
    hamiltonian = Hamiltonian(exchange=1.0, dmi=0.0, external_field=(0.0, 0.0, 0.25))
    found = evaluate_resolution({"turned": lambda _c, _s: turned}, fine, fine[:, ::4, ::4], 4, hamiltonian=hamiltonian)
    rows = resolution_rows(found, {"scale": 4}, 7)
    assert [(row["scale"], row["method"], row["sample"]) for row in rows] == [(4, "turned", 7), (4, "turned", 8)]
    expected = {
        "mse_x": 1, "mse_y": 0, "mse_z": 1, "normalized_mse": 2 / 3, "raw_mse": (0.25 + 1) / 3, "angle": 90,
        # S_z is 0 everywhere: there is no wall, and no spin has left the plane.
        "wall_position": 0, "charge_error": 0, "energy_error": 0.25, "torque": 0.25, "inconsistency": 2 / 3,
        "normalized_psnr": 10 * np.log10(6), "normalized_psnr_as_printed": 10 * np.log10(24),
    }  # fmt: skip
    assert {name: rows[0][name] for name in expected} == pytest.approx(expected, abs=1e-6)
    without = evaluate_resolution({"turned": lambda _c, _s: turned}, fine, fine[:, ::4, ::4], 4)["turned"].columns()
    assert set(rows[0]) - set(without) == {"scale", "method", "sample", "energy_error", "torque"}


def test_statistics_by_hand_and_the_worst_in_the_right_direction():
    values = [1.0, 2.0, 3.0, 10.0]
    assert statistics("raw_mse", values) == pytest.approx((4.0, np.sqrt((9 + 4 + 1 + 36) / 4), 2.5, 10.0))
    assert [statistics(name, values)[3] for name in ("normalized_psnr", "raw_correlation", "torque")] == [1, 1, 10]
    rows = [{"scale": 4, "method": "a", "sample": n, "torque": value} for n, value in enumerate(values)]
    row = statistics_row(rows, ("scale", "method"))
    assert list(row) == ["scale", "method", "torque_mean", "torque_std", "torque_median", "torque_worst"]
    assert (row["method"], row["torque_median"], row["torque_worst"]) == ("a", 2.5, 10.0)
