"""Losses and figures against what they are defined as, computed by other means."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.errors import InputError
from rayspin.metrics import correlation, mse, mse_per_component
from rayspin.models import Degrade, EffectiveFieldNetConfig, ExactField, SuperResolutionNetConfig
from rayspin.physics import DOMAIN, Degradation, Hamiltonian, effective_field, energy, torque
from rayspin.training import FieldObjective, SuperResolutionObjective
from rayspin.training.data import Batch
from tests.support.training import memory_source

EVERYTHING = Hamiltonian(
    exchange=0.9, dmi=0.3, anisotropy=0.2, anisotropy_axis=(1.0, 0.0, 2.0), external_field=(0.1, -0.2, 0.3)
)
BULK = Hamiltonian(dmi=-0.4, dmi_kind="bulk")


def _batch(source):
    spins = torch.from_numpy(np.moveaxis(source.spins_NYXC, -1, 1).copy())
    return Batch(spins, tuple((0, 1, int(sample)) for sample in source.samples))


def _last(tensor_NCYX):
    return np.moveaxis(tensor_NCYX.numpy(), 1, -1)


class _Scaled(nn.Module):
    """A network that returns a multiple of what a function makes of its input."""

    def __init__(self, function, factor):
        super().__init__()
        self.function, self.factor = function, factor

    def forward(self, spins):
        return self.factor * self.function(spins)


@pytest.mark.parametrize("hamiltonian", [EVERYTHING, BULK, DOMAIN])
@pytest.mark.parametrize("shape", [(16, 16), (8, 24)])
def test_the_exact_field_on_the_device_is_the_one_of_physics(hamiltonian, shape):
    spins = np.random.default_rng(1).normal(size=(2, *shape, 3)).astype(np.float32)
    exact = ExactField(hamiltonian, shape)
    field = exact(torch.from_numpy(np.moveaxis(spins, -1, 1).copy()))
    np.testing.assert_allclose(_last(field), effective_field(spins, hamiltonian), atol=1e-5)


def test_energies_from_the_field_are_those_of_physics():
    source = memory_source(3, seed=4, hamiltonian=EVERYTHING)
    spins = _batch(source).spins_NCYX
    exact = ExactField(EVERYTHING, (32, 32))
    expected = energy(source.spins_NYXC, EVERYTHING)
    np.testing.assert_allclose(exact.energy(spins, exact(spins)), expected, rtol=1e-5)


def test_open_lattices_are_refused():
    with pytest.raises(InputError, match="has open boundaries"):
        ExactField(Hamiltonian(boundary="open"), (8, 8))


def test_field_loss_and_figures_of_an_estimate_that_is_a_tenth_too_long():
    source = memory_source(3, seed=5, hamiltonian=EVERYTHING)
    batch = _batch(source)
    criterion = FieldObjective().build(EffectiveFieldNetConfig(), source)
    network = _Scaled(criterion.exact, 1.1)
    truth = effective_field(source.spins_NYXC, EVERYTHING).astype(np.float64)
    expected = 0.01 * np.square(truth).mean()
    assert criterion.loss(network, batch).item() == pytest.approx(expected, rel=1e-4)
    figures = {name: value.item() for name, value in criterion.figures(network, batch).items()}
    assert figures["validation_loss"] == pytest.approx(expected, rel=1e-4)
    by_component = mse_per_component(1.1 * truth, truth).mean(axis=0)
    components = [figures[f"validation_mse_{name}"] for name in "xyz"]
    assert components == pytest.approx(by_component, rel=1e-4)
    # The tenth is on the whole field; the external part counts twice in F + H.
    spins, external = source.spins_NYXC, np.array(EVERYTHING.external_field)
    ratios = (spins * (1.1 * truth + external)).sum((1, 2, 3)) / (spins * (truth + external)).sum((1, 2, 3))
    assert figures["energy_ratio"] == pytest.approx(ratios.mean(), rel=1e-5)


def test_super_resolution_loss_compares_coarse_with_coarse_and_figures_with_the_truth():
    source = memory_source(3, seed=6)
    batch = _batch(source)
    criterion = SuperResolutionObjective().build(SuperResolutionNetConfig(scale=4), source)
    blocks = _Scaled(lambda coarse: coarse.repeat_interleave(4, 2).repeat_interleave(4, 3), 0.8)
    degradation = Degrade(Degradation(), 4)
    coarse = degradation(batch.spins_NCYX)
    fine = blocks(coarse)
    assert torch.equal(criterion.coarse(batch)[0], coarse)
    expected = mse(_last(degradation(fine)), _last(coarse)).mean()
    assert criterion.loss(blocks, batch).item() == pytest.approx(expected, rel=1e-5)
    figures = criterion.figures(blocks, batch)
    assert figures["validation_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert figures["fine_mse"].item() == pytest.approx(mse(_last(fine), source.spins_NYXC).mean(), rel=1e-5)
    assert figures["fine_correlation"].item() == pytest.approx(
        correlation(_last(fine), source.spins_NYXC).mean(), rel=1e-5
    )


def test_noise_makes_unit_vectors_that_forget_the_spins_as_it_grows():
    source = memory_source(4, seed=7)
    batch = _batch(source)
    coarse = Degrade(Degradation(), 4)(batch.spins_NCYX)
    likeness = []
    for amplitude in (0.1, 1.0, 100.0):
        objective = SuperResolutionObjective(noise_amplitude=amplitude)
        noisy = objective.build(SuperResolutionNetConfig(scale=4), source).coarse(batch)[0]
        torch.testing.assert_close(noisy.norm(dim=1), torch.ones_like(noisy[:, 0]))
        likeness.append((noisy * coarse / coarse.norm(dim=1, keepdim=True)).sum(dim=1).mean().item())
    # 256 pixels of unit vectors with variance 1/3: five standard errors about 0 at the largest amplitude.
    assert likeness[0] > 0.98 > likeness[1] > 0.5 > 5 * (1 / 3 / 256) ** 0.5 > abs(likeness[2])


def test_weights_add_the_square_of_the_excess_length_and_of_the_torque():
    source = memory_source(3, seed=8, hamiltonian=EVERYTHING)
    batch = _batch(source)
    network = SuperResolutionNetConfig(scale=4)
    estimate = 1.2 * batch.spins_NCYX

    def loss(**weights):
        return SuperResolutionObjective(**weights).build(network, source).loss(lambda _coarse: estimate, batch).item()

    plain = loss()
    excess = np.square(np.square(_last(estimate)).sum(-1) - 1).mean()
    assert loss(length_weight=0.5) - plain == pytest.approx(0.5 * excess, rel=1e-3)
    square = np.square(torque(_last(estimate), EVERYTHING)).sum(-1).mean()
    assert loss(torque_weight=0.1) - plain == pytest.approx(0.1 * square, rel=1e-3)


def test_lost_pixels_are_zero_in_the_input_and_absent_from_the_loss():
    source = memory_source(6, seed=9)
    batch = _batch(source)
    criterion = SuperResolutionObjective(dropped=0.3).build(SuperResolutionNetConfig(scale=4), source)
    coarse, kept = criterion.coarse(batch)
    whole = Degrade(Degradation(), 4)(batch.spins_NCYX)
    lost = (coarse == 0).all(dim=1)
    # 384 pixels, five standard errors.
    assert lost.float().mean() == pytest.approx(0.3, abs=5 * (0.21 / 384) ** 0.5)
    assert torch.equal(coarse.movedim(1, -1)[~lost], whole.movedim(1, -1)[~lost])
    fine = torch.randn_like(batch.spins_NCYX)
    errors = (Degrade(Degradation(), 4)(fine) - whole).movedim(1, -1)[~lost]
    # Over the pixels that are kept on average.
    expected = errors.square().sum().item() / (0.7 * lost.numel() * 3)
    assert criterion.loss(lambda _coarse: fine, batch).item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(kept[:, 0] == 0, lost)


def test_the_loss_over_lost_pixels_is_the_mean_of_the_losses_of_its_parts():
    """However a batch is split over ranks, its loss is the same."""
    batch = _batch(memory_source(6, seed=9))
    criterion = SuperResolutionObjective(dropped=0.3).build(SuperResolutionNetConfig(scale=4), memory_source(6, seed=9))
    halves = [Batch(batch.spins_NCYX[part], batch.addresses[part]) for part in (slice(0, 3), slice(3, 6))]
    losses = [criterion.loss(lambda coarse: coarse.repeat(1, 1, 4, 4), part).item() for part in (batch, *halves)]
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-6)


def test_a_start_that_undoes_another_degradation_is_refused():
    objective = SuperResolutionObjective(degradation=Degradation(sigma=2.0))
    objective.check(SuperResolutionNetConfig(scale=4, start="fourier", degradation=Degradation(sigma=2.0)), (32, 32))
    with pytest.raises(InputError, match=r"network\.degradation: .* \(sigma: 1\.0, not 2\.0\)"):
        objective.check(SuperResolutionNetConfig(scale=4, start="fourier"), (32, 32))
