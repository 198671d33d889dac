"""Trust: the regression against its formula, predictions against true errors, and assumptions that are wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from rayspin.analysis.figures import draw_reliability
from rayspin.errors import InputError
from rayspin.metrics import mse
from rayspin.physics import DOMAIN, LABYRINTH, Degradation, Hamiltonian
from rayspin.reconstruction import AssumptionWarning, TrustModel, fit_trust, reconstruct, reliability, squared_error
from rayspin.reconstruction.trust import Residuals, isotonic


def _least_squares_isotonic(values, weights):
    """The max-min formula: the largest, over starts, of the smallest mean over ends."""
    n = len(values)

    def mean(first, last):
        return np.average(values[first : last + 1], weights=weights[first : last + 1])

    return [max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_regression_is_the_max_min_formula(seed):
    rng = np.random.default_rng(seed)
    values, weights = rng.integers(0, 6, 12).astype(float), rng.uniform(0.1, 3, 12)
    np.testing.assert_allclose(isotonic(values, weights), _least_squares_isotonic(values, weights), rtol=1e-12)


def test_the_squared_error_keeps_the_mean_and_spreads_like_a_gaussian():
    truth = np.broadcast_to([0.0, 0.0, 1.0], (64, 64, 3))
    spins = truth.copy()
    spins[32, 32] = (0, 0, -1)
    error = squared_error(spins, truth)
    assert error.mean() == pytest.approx(3 * mse(spins, truth).item(), rel=1e-6)
    assert error[32, 32] == pytest.approx(4 / (2 * np.pi * 36), rel=1e-3)
    assert error[32, 38] / error[32, 32] == pytest.approx(np.exp(-0.5), rel=1e-3)


def test_reliability_of_known_errors():
    predicted = np.arange(1.0, 101).reshape(4, 25)
    first, second = reliability(predicted, 2 * predicted, 10)
    np.testing.assert_allclose(first, np.arange(5.5, 100, 10))
    np.testing.assert_allclose(second, 2 * first)


def _line(**changes):
    fields = {
        "method": "X()",
        "scale": 8,
        "degradation": Degradation(),
        "hamiltonian": None,
        "mixing": 0.0,
        "residuals": (-10.0, -5.0),
        "errors": (-8.0, -4.0),
        "exponent": 0.8,
        "range": (-9.0, -6.0),
        "usual_torque": 0.0,
        "usual_ratio": 0.0,
    }
    return TrustModel(**fields | changes)


def test_beyond_the_calibration_a_power_law_continues_and_is_flagged():
    predicted, extrapolated = _line().predict(Residuals(np.array([[[-20.0, -8.0, 0.0]]]), None))
    np.testing.assert_allclose(np.log(predicted), [[[-16.0, -6.4, 0.0]]])
    assert extrapolated.tolist() == [[[True, False, True]]]


@pytest.mark.parametrize("hamiltonian", [DOMAIN, None])
def test_a_model_is_the_same_after_saving(hamiltonian, tmp_path):
    model = _line(hamiltonian=hamiltonian, mixing=0.5)
    model.save(tmp_path / "model.json")
    assert TrustModel.load(tmp_path / "model.json") == model
    (tmp_path / "broken.json").write_text('{"scale": 8}')
    with pytest.raises(InputError, match=r"broken\.json"):
        TrustModel.load(tmp_path / "broken.json")


def test_predicted_errors_order_and_match_the_true_ones(labyrinths):
    coarse = Degradation().apply(labyrinths, 8)
    for method in ("map", "projections", "wiener-em"):
        result = reconstruct(coarse, 8, method, hamiltonian="labyrinth")
        assert result.trust.shape == result.extrapolated.shape == (3, 64, 64)
        assert result.suspect is None
        error = squared_error(result.spins, labyrinths)
        predicted, actual = reliability(result.trust, error, 5)
        assert np.all((actual / predicted > 0.5) & (actual / predicted < 2)), method
        assert actual[-1] > 1.5 * actual[0]
        assert result.extrapolated.mean() < 0.05


def test_a_model_of_other_fields_predicts_these(domains):
    model = fit_trust(domains[:, :32], 4, "fourier", hamiltonian="domain")
    coarse = Degradation().apply(domains[:, 32:], 4)
    result = reconstruct(coarse, 4, "fourier", hamiltonian="domain", trust=model)
    ratio = squared_error(result.spins, domains[:, 32:]).mean() / result.trust.mean()
    assert 0.3 < ratio < 3


def test_without_a_model_nothing_is_claimed(labyrinths):
    coarse = Degradation().apply(labyrinths[:1], 8)
    for further in ({"hamiltonian": Hamiltonian(dmi=0.6)}, {"hamiltonian": LABYRINTH, "start": labyrinths[:1]}):
        result = reconstruct(coarse, 8, **further)
        assert np.isnan(result.trust).all()
        assert result.extrapolated.all()
        assert result.suspect is None
    assert np.isnan(reconstruct(coarse, 8, "wiener-em").trust).all()
    with pytest.raises(InputError, match="trust: 3 is not a trust model"):
        reconstruct(coarse, 8, hamiltonian=LABYRINTH, trust=3)
    with pytest.raises(InputError, match="trust: the model was fitted at scale 8, not 4"):
        reconstruct(Degradation().apply(labyrinths[:1], 4), 4, hamiltonian=LABYRINTH, trust=_line())


WRONG = {
    "labyrinth": (LABYRINTH, LABYRINTH.with_updates(dmi=0.27), LABYRINTH.with_updates(dmi=-0.3)),
    "domain": (DOMAIN, DOMAIN.with_updates(dipole=0.027), DOMAIN.with_updates(anisotropy=0.235)),
}


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", ["labyrinth", "domain"])
def test_wrong_assumptions_are_noticed_and_told_apart(name, scale, request):
    fine = request.getfixturevalue(f"{name}s")[:2]
    right, *others = WRONG[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = reconstruct(Degradation().apply(fine, scale), scale, hamiltonian=right)
    assert result.suspect is None
    for sigma in (0.8, 1.2):
        with pytest.warns(AssumptionWarning, match="wrong blur, gain or offset"):
            reconstruct(Degradation(sigma=sigma).apply(fine, scale), scale, hamiltonian=right)
    coarse = 0.85 * Degradation().apply(fine, scale) + 0.04
    with pytest.warns(AssumptionWarning, match="wrong blur, gain or offset"):
        reconstruct(coarse, scale, hamiltonian=right)
    for other in others:
        with pytest.warns(AssumptionWarning, match="wrong Hamiltonian"):
            result = reconstruct(Degradation().apply(fine, scale), scale, hamiltonian=other)
        assert result.suspect is not None


def test_a_figure_of_reliability_is_written(tmp_path):
    values = np.geomspace(1e-6, 1e-3, 10)
    draw_reliability({"map": (values, 1.2 * values)}, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
