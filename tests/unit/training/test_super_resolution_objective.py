"""The terms of the loss of networks for fine spins, on networks whose errors are known."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.errors import InputError
from rayspin.models import SuperResolutionNetConfig, SuperResolutionUNetConfig
from rayspin.models.degradation import Restore
from rayspin.physics import LABYRINTH, LABYRINTH_SCHEDULE, Degradation, anneal_many, torque
from rayspin.training import SuperResolutionObjective
from rayspin.training.data import Batch
from tests.support.training import MemorySource, memory_source

PLAIN = SuperResolutionNetConfig(scale=4)
RESTORE = Restore(Degradation(), 4)


def _batch(source):
    spins = torch.from_numpy(np.moveaxis(source.spins_NYXC, -1, 1).copy())
    return Batch(spins, tuple((0, 1, int(sample)) for sample in source.samples))


def _inequivariance(network, source=None, **options):
    """The term of the loss that demands equivariance, with weight 1."""
    source = memory_source(4, seed=3) if source is None else source
    criteria = [SuperResolutionObjective(equivariance=weight, **options).build(PLAIN, source) for weight in (0.0, 1.0)]
    without, with_it = (criterion.loss(network, _batch(source)) for criterion in criteria)
    return with_it - without


def _band_limited(coarse_NCYX):
    """The Fourier interpolation without the wave at the Nyquist frequency, which has no shifted version."""
    waves = torch.fft.fft2(coarse_NCYX)
    half = coarse_NCYX.shape[-1] // 2
    waves[..., half, :] = waves[..., :, half] = 0
    return RESTORE(torch.fft.ifft2(waves).real)


def test_an_interpolation_that_moves_with_the_spins_loses_nothing_and_one_by_blocks_does():
    assert _inequivariance(_band_limited).item() == pytest.approx(0, abs=1e-8)
    assert _inequivariance(lambda coarse: coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)).item() > 1e-3


def test_a_picture_that_never_changes_is_compared_with_itself_moved():
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    # Two independent pictures of variance 1, on 12,288 sites.
    found = _inequivariance(lambda coarse: picture.expand(len(coarse), -1, -1, -1)).item()
    assert found == pytest.approx(2, rel=0.1)


def test_no_gradient_passes_through_the_moved_output():
    factor = torch.tensor(1.3, requires_grad=True)
    term = _inequivariance(lambda coarse: factor * _band_limited(coarse))
    term.backward()
    # With X = a u, a reconstruction gives a X, so the term is (a - 1)^2 |X|^2, and 2 (a - 1) |X|^2 is its derivative
    # for a fixed X.
    assert factor.grad.item() == pytest.approx(2 * term.item() / 0.3, rel=1e-3)


def test_symmetries_turn_the_spins_with_the_lattice():
    only_x = torch.tensor([1.0, 0, 0])[:, None, None]
    network = lambda coarse: only_x * _band_limited(coarse)  # noqa: E731
    assert _inequivariance(network).item() == pytest.approx(0, abs=1e-8)
    assert _inequivariance(network, motions="symmetries").item() > 0.01


def test_a_rotation_of_spins_and_lattice_leaves_no_error_in_what_turns_with_it():
    turned = lambda coarse: _band_limited(0.5 * coarse)  # noqa: E731
    doubled = lambda coarse: 2 * turned(coarse)  # noqa: E731
    assert _inequivariance(doubled, motions="symmetries").item() == pytest.approx(0, abs=1e-8)


def test_the_target_is_the_fine_field_where_it_is_asked_for():
    source = memory_source(3, seed=4)
    batch = _batch(source)
    criterion = SuperResolutionObjective(target="fine").build(PLAIN, source)
    estimate = 0.9 * batch.spins_NCYX
    assert criterion.loss(lambda _coarse: estimate, batch).item() == pytest.approx(0.01 / 3, rel=1e-4)
    assert criterion.figures(lambda _coarse: estimate, batch)["validation_loss"].item() == pytest.approx(
        0.01 / 3, rel=1e-4
    )


def test_the_loss_of_a_network_with_a_start_is_in_units_of_the_error_of_the_start():
    source = memory_source(6, seed=5)
    config = SuperResolutionUNetConfig(scale=4, start="fourier", normalized_output=True, patch=2, filters=(4, 6))
    criterion = SuperResolutionObjective(target="fine").build(config, source)
    network = criterion.network(config)
    assert torch.equal(network.start.error, criterion.start.error)
    error = nn.functional.mse_loss(network.eval()(criterion.coarse(_batch(source))[0]), _batch(source).spins_NCYX)
    loss = criterion.loss(network, _batch(source))
    assert loss.item() == pytest.approx(error.item() / criterion.start.error.item() ** 2, rel=1e-4)
    # The start tells its error within a factor of 2 of the mean square.
    assert 0.5 < loss.item() < 2


@pytest.mark.parametrize("amplitude", [0.3, 2.0])
def test_recorrupted_pairs_have_the_right_mean_and_uncorrelated_errors(amplitude):
    up = np.zeros((40, 32, 32, 3), np.float32)
    up[..., 2] = 1
    source = MemorySource(up, np.arange(40))
    objective = SuperResolutionObjective(noise_amplitude=amplitude, recorrupted=True)
    criterion = objective.build(PLAIN, source)
    given, wanted, _ = criterion.pair(_batch(source))
    noisy = criterion.coarse(_batch(source))[0]
    pixels = noisy[:, 0].numel()
    truth = torch.tensor([0.0, 0, 1])[:, None, None]
    assert wanted.mean(dim=(0, 2, 3)).numpy() == pytest.approx(truth.squeeze().numpy(), abs=0.1)
    errors = [(noise - noise.mean(dim=(0, 2, 3), keepdim=True)) for noise in (given, wanted)]
    spreads = [error.square().mean().sqrt() for error in errors]
    # Uncorrelated within five standard errors, while the errors of the noisy spins themselves are the same twice.
    assert abs((errors[0] * errors[1]).mean() / (spreads[0] * spreads[1])) < 5 / np.sqrt(3 * pixels)
    # With n of the variance v of the data: v + v / 4.
    variance = (noisy - noisy.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
    assert errors[0].square().mean().item() == pytest.approx(1.25 * variance.item(), rel=0.05)


def test_the_torque_with_learned_strengths_is_that_of_their_hamiltonian():
    source = memory_source(3, seed=6, hamiltonian=LABYRINTH)
    batch = _batch(source)
    criterion = SuperResolutionObjective(torque_weight=1.0, torque_strengths={"dmi": -0.2, "anisotropy": 0.1}).build(
        PLAIN, source
    )
    other = LABYRINTH.with_updates(dmi=-0.2, anisotropy=0.1)
    found = np.moveaxis(criterion.torque(batch.spins_NCYX).detach().numpy(), 1, -1)
    np.testing.assert_allclose(found, torque(source.spins_NYXC, other), atol=1e-5)
    figures = criterion.figures(lambda _coarse: batch.spins_NCYX, batch)
    assert figures["strength_dmi"].item() == pytest.approx(-0.2)
    assert figures["strength_anisotropy"].item() == pytest.approx(0.1)


def test_the_strength_that_is_learned_from_spins_in_equilibrium_is_theirs():
    spins = anneal_many(LABYRINTH, 32, LABYRINTH_SCHEDULE, [(97, sample) for sample in range(2)])
    # The Hamiltonian of the source is not the one that the spins come from.
    source = MemorySource(spins, np.arange(2), LABYRINTH.with_updates(dmi=0.7))
    criterion = SuperResolutionObjective(torque_weight=1.0, torque_strengths={"dmi": 0.1}).build(PLAIN, source)
    optimizer = torch.optim.Adam(criterion.parameters(), lr=0.05)
    batch = _batch(source)
    for _ in range(80):
        optimizer.zero_grad()
        criterion.loss(lambda _coarse: batch.spins_NCYX, batch).backward()
        optimizer.step()
    assert criterion.torque.strengths()["dmi"].item() == pytest.approx(LABYRINTH.dmi, rel=0.02)


def test_a_start_that_needs_fine_spins_is_for_objectives_that_have_them():
    config = SuperResolutionNetConfig(scale=4, start="wiener")
    SuperResolutionObjective(target="fine").check(config, (32, 32))
    with pytest.raises(InputError, match=r'^network\.start: "wiener" learns from fine spins'):
        SuperResolutionObjective().check(config, (32, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"torque_strengths": {"dmi": 0.1}}, "torque_strengths: the loss has no torque; set torque_weight"),
        ({"torque_weight": 1.0, "torque_strengths": {"dmi": 0.0}}, "dmi: 0.0 is zero or not finite"),
        ({"torque_weight": 1.0, "torque_strengths": {"spin": 1.0}}, "spin"),
        ({"motions": "rotations"}, "motions"),
        ({"recorrupted": True}, "objective.recorrupted: the data have no noise; set noise_amplitude"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(options, message):
    with pytest.raises((InputError, ValueError), match=message):
        SuperResolutionObjective(**options).check(PLAIN, (32, 32))
