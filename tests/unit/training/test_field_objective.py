"""The deviation of the field from its isotropic part, against what is known of it by hand and by other means."""

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNetConfig, FieldOutput
from rayspin.physics import DOMAIN, Hamiltonian, effective_field, energy
from rayspin.training import FieldObjective
from rayspin.training.data import Batch
from tests.support.training import MemorySource, memory_source

NETWORK = EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,))
DEVIATION = FieldObjective(target="deviation")
STRONG = Hamiltonian(exchange=1.3, dmi=0.4, external_field=(0.0, 0.0, 0.05))


def _batch(source):
    spins = torch.from_numpy(np.moveaxis(source.spins_NYXC, -1, 1).copy())
    return Batch(spins, tuple((0, 1, int(sample)) for sample in source.samples))


def _last(tensor_NCYX):
    return np.moveaxis(tensor_NCYX.numpy(), 1, -1)


def _spiral(size=24, turns=2):
    """A cycloid along +x that turns from +z towards -x, by q at each site: (1, size, size, 3), and q."""
    q = 2 * np.pi * turns / size
    angle = np.broadcast_to(q * np.arange(size), (1, size, size))
    return np.stack([-np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1).astype(np.float32), q


def _criterion(spins_NYXC, hamiltonian, objective=DEVIATION):
    source = MemorySource(spins_NYXC, np.arange(len(spins_NYXC)), hamiltonian)
    return objective.build(NETWORK, source), _batch(source)


def test_c_is_four_times_the_exchange_and_the_deviation_of_a_uniform_state_is_zero():
    criterion, _ = _criterion(_spiral()[0], Hamiltonian(exchange=1.3, dmi=0.4))
    direction = torch.tensor([0.6, 0.0, 0.8]).view(1, 3, 1, 1)
    assert criterion.output.isotropic == pytest.approx(4 * 1.3)
    torch.testing.assert_close(
        criterion.target(direction.expand(1, 3, 24, 24)), torch.zeros(1, 3, 24, 24), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("exchange", "dmi"), [(1.0, 0.3), (1.3, -0.4)])
def test_the_deviation_of_a_spiral_is_the_known_one(exchange, dmi):
    # Of the four neighbors, the two along x are turned by q: F = J (2 + 2 cos q) S + 2 D sin(q) S.
    spins, q = _spiral()
    criterion, batch = _criterion(spins, Hamiltonian(exchange=exchange, dmi=dmi))
    factor = 2 * exchange * (np.cos(q) - 1) + 2 * dmi * np.sin(q)
    np.testing.assert_allclose(_last(criterion.target(batch.spins_NCYX)), factor * spins, atol=1e-5)
    # A unit vector has a mean square of 1/3 over its components.
    assert criterion.output.scale == pytest.approx(abs(factor) / 3**0.5, rel=1e-4)


def test_terms_that_are_not_isotropic_stay_in_the_deviation():
    up = np.zeros((1, 16, 16, 3), np.float32)
    up[..., 2] = 1
    hamiltonian = Hamiltonian(dmi=0.3, anisotropy=0.2, external_field=(0.0, 0.0, 0.05))
    criterion, batch = _criterion(up, hamiltonian)
    np.testing.assert_allclose(_last(criterion.target(batch.spins_NCYX)), (2 * 0.2 + 0.05) * up, atol=1e-5)
    dipolar, batch = _criterion(up, DOMAIN)
    rest = effective_field(up, DOMAIN.with_updates(exchange=0.0))
    np.testing.assert_allclose(_last(dipolar.target(batch.spins_NCYX)), rest, atol=1e-5)


def test_the_scale_is_the_root_mean_square_of_the_deviation_and_the_network_gives_j():
    source = memory_source(7, seed=3, hamiltonian=STRONG)
    criterion = DEVIATION.build(NETWORK, source)
    deviation = effective_field(source.spins_NYXC, STRONG).astype(np.float64) - 4 * 1.3 * source.spins_NYXC
    assert criterion.output.scale == pytest.approx(np.square(deviation).mean() ** 0.5, rel=1e-5)
    assert criterion.network(NETWORK).output == criterion.output
    assert FieldObjective().build(NETWORK, source).network(NETWORK).output == FieldOutput()


def test_the_scale_is_measured_on_samples_spread_over_the_whole_split(monkeypatch):
    monkeypatch.setattr("rayspin.training.field_objective.MEASURED_SAMPLES", 3)
    source = memory_source(9, seed=3)
    deviation = effective_field(source.spins_NYXC, source.hamiltonian) - 4 * source.spins_NYXC
    expected = np.square(deviation[[0, 4, 8]]).mean() ** 0.5
    assert DEVIATION.build(NETWORK, source).output.scale == pytest.approx(expected, rel=1e-5)


def test_loss_and_figures_of_a_deviation_that_is_a_tenth_too_long():
    source = memory_source(3, seed=5, hamiltonian=STRONG)
    batch, spins = _batch(source), source.spins_NYXC.astype(np.float64)
    criterion = DEVIATION.build(NETWORK, source)
    truth = effective_field(spins, STRONG).astype(np.float64)
    deviation = truth - 5.2 * spins
    figures = {
        name: value.item() for name, value in criterion.figures(lambda s: 1.1 * criterion.target(s), batch).items()
    }
    assert tuple(figures) == FieldObjective.measured
    square = 0.01 * np.square(deviation)
    # In units of the mean square of the deviation, and in J^2.
    assert criterion.loss(lambda s: 1.1 * criterion.target(s), batch).item() == pytest.approx(0.01, rel=1e-4)
    assert figures["validation_loss"] == pytest.approx(0.01, rel=1e-4)
    assert figures["relative_mse"] == pytest.approx(0.01, rel=1e-4)
    by_component = [figures[f"validation_mse_{name}"] for name in "xyz"]
    assert by_component == pytest.approx(square.mean(axis=(0, 1, 2)), rel=1e-4)
    # The energy is that of F* = f* + c S; the external part of it belongs to single spins.
    external = np.array(STRONG.external_field)
    ratios = (spins * (truth + 0.1 * deviation + external)).sum((1, 2, 3)) / -(2 * 32 * 32 * energy(spins, STRONG))
    assert figures["energy_ratio"] == pytest.approx(ratios.mean(), rel=1e-5)
    assert figures["deviation_correlation"] == pytest.approx(1, abs=1e-5)


def test_the_correlation_is_that_of_the_deviations_whatever_the_target():
    source = memory_source(3, seed=6)
    batch = _batch(source)
    noise = 0.3 * np.random.default_rng(1).normal(size=source.spins_NYXC.shape)
    deviation = effective_field(source.spins_NYXC, source.hamiltonian) - 4 * source.spins_NYXC
    estimate = deviation + noise
    expected = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(estimate, deviation)])
    added = torch.from_numpy(np.moveaxis(noise, -1, 1).astype(np.float32))
    for objective in (DEVIATION, FieldObjective()):
        criterion = objective.build(NETWORK, source)
        figures = criterion.figures(lambda s, criterion=criterion: criterion.target(s) + added, batch)
        assert figures["deviation_correlation"].item() == pytest.approx(expected, rel=1e-4)
        mse = np.square(noise).mean()
        assert figures["relative_mse"].item() == pytest.approx(mse / np.square(deviation).mean(), rel=1e-4)


def test_a_constant_estimate_has_no_correlation():
    source = memory_source(2, seed=6)
    figures = DEVIATION.build(NETWORK, source).figures(torch.zeros_like, _batch(source))
    assert figures["deviation_correlation"].item() == 0
    assert figures["relative_mse"].item() == pytest.approx(1, rel=1e-4)


def test_data_without_a_deviation_are_refused_as_its_target():
    up = np.zeros((2, 8, 8, 3), np.float32)
    up[..., 2] = 1
    with pytest.raises(InputError, match=r"objective\.target: the field has no deviation from its isotropic part"):
        _criterion(up, Hamiltonian())
    criterion, batch = _criterion(up, Hamiltonian(), FieldObjective())
    assert all(torch.isfinite(value) for value in criterion.figures(criterion.exact, batch).values())


def test_uniform_and_damaged_samples_change_the_loss_and_not_the_validation():
    source = memory_source(6, seed=7)
    batch = _batch(source)
    plain = DEVIATION.build(NETWORK, source)
    uniform = DEVIATION.with_updates(uniform_states=1.0).build(NETWORK, source)
    damaged = DEVIATION.with_updates(damage={"one_component": 1.0}).build(NETWORK, source)
    assert uniform.loss(torch.zeros_like, batch).item() < 1e-6
    seen = []

    def network(spins):
        seen.append(spins)
        return torch.zeros_like(spins)

    # The target is the field of the undamaged spins.
    assert damaged.loss(network, batch).item() == pytest.approx(plain.loss(torch.zeros_like, batch).item(), rel=1e-5)
    assert not seen[0][:, :2].any()
    damaged.figures(network, batch)
    assert torch.equal(seen[1], batch.spins_NCYX)
