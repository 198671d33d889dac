"""Networks for fine spins: their starts against `rayspin.reconstruction`, what follows the layers, and their files."""

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import (
    SuperResolutionNetConfig,
    SuperResolutionUNetConfig,
    apply,
    load_weights,
    save_weights,
)
from rayspin.models.architectures import fine_network
from rayspin.models.descent import Descent, DescentConfig
from rayspin.models.starts import Projections as ProjectionsModule
from rayspin.models.starts import Start, WienerFilter
from rayspin.physics import LABYRINTH, LABYRINTH_SCHEDULE, Degradation, anneal_many, energy
from rayspin.reconstruction import MAP, Projections, Wiener, WienerEM, reconstruct, spectrum
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem
from rayspin.reconstruction.spectrum import Isotropy
from tests.support.training import smooth_spins

UNET = SuperResolutionUNetConfig(scale=4, start="fourier", normalized_output=True, patch=2, filters=(4, 6))


def _first(spins_NYXC):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(spins_NYXC, -1, 1)))


def _last(maps_NCYX):
    return np.moveaxis(maps_NCYX.detach().numpy(), 1, -1)


def _problem(coarse_NCYX, shape, scale, **more):
    return Problem(np.asarray(coarse_NCYX)[:, :, None], Operator(Degradation(), shape, scale), **more)


@pytest.fixture(scope="module")
def labyrinths():
    return anneal_many(LABYRINTH, 32, LABYRINTH_SCHEDULE, [(98, sample) for sample in range(6)])


@pytest.mark.parametrize("shape", [(32, 32), (16, 48)])
def test_the_wiener_filter_of_a_table_is_that_of_its_spectrum_on_any_lattice(shape):
    module = WienerFilter(Degradation(), 4)
    wave_numbers = 2 * np.pi / 512 * np.arange(364)
    # A peak at |k| = 0.4 in a spectrum whose components are tied together, as by a handedness.
    tied = np.array([[2, 0, 1], [0, 1, 0], [1, 0, 1.5]])
    table = (0.01 + np.exp(-50 * (wave_numbers - 0.4) ** 2))[:, None, None] * tied
    module.spectrum.copy_(torch.from_numpy(table))
    isotropy = Isotropy(shape)
    at = [np.interp(isotropy.wave_numbers, wave_numbers, column) for column in table.reshape(-1, 9).T]
    known = isotropy.spread(np.stack(at, -1).reshape(-1, 3, 3).astype(np.float32))
    coarse = np.random.default_rng(1).normal(size=(2, 3, shape[0] // 4, shape[1] // 4)).astype(np.float32)
    expected = Wiener().solve(_problem(coarse, shape, 4, spectrum_YXCC=known))
    np.testing.assert_allclose(module(torch.from_numpy(coarse)).numpy(), expected, atol=1e-4)


def test_the_filter_that_is_learned_is_as_good_as_the_one_that_is_computed(labyrinths):
    coarse = Degradation().apply(labyrinths, 4)
    module = WienerFilter(Degradation(), 4)
    module.learn(_first(coarse).numpy())
    errors = [
        np.square(np.moveaxis(found, 1, -1) - labyrinths).mean()
        for found in (
            module(_first(coarse)).numpy(),
            WienerEM().solve(_problem(_first(coarse), (32, 32), 4)),
        )
    ]
    assert errors[0] < 1.3 * errors[1] < 0.01


def test_projections_are_those_of_the_reconstruction(labyrinths):
    coarse = Degradation().apply(labyrinths, 8)
    start = smooth_spins(6, seed=1)
    expected = reconstruct(coarse, 8, Projections(iterations=7), start=start).spins
    found = _last(ProjectionsModule(Degradation(), 8, 7)(_first(start), _first(coarse)))
    np.testing.assert_allclose(Degradation().apply(found, 8), coarse, atol=1e-5)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=-1, keepdims=True), expected, atol=1e-4)


def test_a_start_tells_its_error_from_coarse_spins_alone(labyrinths):
    coarse = _first(Degradation().apply(labyrinths, 8))
    start = Start("fourier", 3, Degradation(), 8)
    start.learn(coarse, torch.full((6, 3, 32, 32), torch.nan))
    spins = _last(start(coarse))
    unit = spins / np.linalg.norm(spins, axis=-1, keepdims=True)
    assert start.deviation.item() == pytest.approx(np.sqrt(np.square(spins - unit).mean()), rel=1e-4)
    assert start.error.item() == pytest.approx(np.sqrt(np.square(unit - labyrinths).mean()), rel=0.5)


def test_a_start_without_errors_has_units_all_the_same():
    up = torch.zeros(2, 3, 4, 4)
    up[:, 2] = 1
    start = Start("fourier", 0, Degradation(), 4)
    start.learn(up, torch.zeros(2, 3, 16, 16))
    assert start.deviation == start.error == 1


def test_the_filter_with_the_spectrum_of_the_fine_spins_is_that_of_wiener(labyrinths):
    module = WienerFilter(Degradation(), 8)
    coarse = _first(Degradation().apply(labyrinths, 8))
    module.learn(coarse.numpy(), _first(labyrinths).numpy())
    isotropy = Isotropy((32, 32))
    known = isotropy.spread(isotropy.table(spectrum(labyrinths)))
    expected = Wiener().solve(_problem(coarse, (32, 32), 8, spectrum_YXCC=known))
    np.testing.assert_allclose(module(coarse).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("projections", [0, 2])
def test_the_untrained_u_net_is_its_start(labyrinths, projections):
    coarse = Degradation().apply(labyrinths, 4)
    config = UNET.with_updates(start_projections=projections)
    expected = reconstruct(coarse, 4, Projections(iterations=projections)).spins
    np.testing.assert_allclose(config.build().reconstruct(coarse), expected, atol=1e-4)


def test_the_u_net_for_fine_spins_has_the_size_counted_by_hand():
    # Six maps of 4 x 4 sites; two blocks at each stride, and two after each concatenation.
    pairs = [(96, 48), (48, 48), (48, 64), (64, 64), (64, 96), (96, 96)]
    pairs += [(96, 64), (128, 64), (64, 64), (64, 48), (96, 48), (48, 48)]
    config = SuperResolutionUNetConfig(scale=16, start="wiener-em", filters=(48, 64, 96), depth=2)
    parameters = sum(p.numel() for p in config.build().parameters())
    assert parameters == sum(9 * a * b + 2 * b for a, b in pairs) + 9 * 48 * 48 + 48


def test_the_u_net_sees_where_its_start_deviates_from_unit_length():
    network = UNET.build().eval()
    with torch.no_grad():
        torch.nn.init.normal_(network.unet.last.weight, generator=torch.Generator().manual_seed(1))
    start = _first(smooth_spins(1, seed=2))
    maps = [network.correction(start, factor * start) for factor in (1.0, 1.5)]
    assert not torch.allclose(*maps, atol=1e-3)


def test_projections_behind_the_layers_come_in_evaluation_only(labyrinths):
    coarse = Degradation().apply(labyrinths, 4)
    network = UNET.with_updates(projections=3).build()
    expected = reconstruct(coarse, 4, Projections(iterations=3)).spins
    np.testing.assert_allclose(network.reconstruct(coarse), expected, atol=1e-4)
    network.train()
    plain = reconstruct(coarse, 4, "fourier").spins
    np.testing.assert_allclose(_last(network(_first(coarse))), plain, atol=1e-4)


def test_many_steps_of_the_descent_end_where_the_reconstruction_ends(labyrinths):
    # Spins of unit length can't agree with these, so the weight matters.
    coarse = 0.9 * Degradation().apply(labyrinths, 4)
    start = reconstruct(coarse, 4, "fourier").spins
    expected = reconstruct(coarse, 4, MAP(weight=50.0, tolerance=1e-5), hamiltonian=LABYRINTH, start=start).spins
    config = DescentConfig(hamiltonian=LABYRINTH, steps=60, weight=50.0)
    found = _last(Descent(config, Degradation(), 4)(_first(start), _first(coarse)))
    assert np.square(found - expected).mean() < 1e-6 < np.square(start - expected).mean() / 30
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)


def test_a_few_steps_lower_energy_and_misfit_and_pass_gradients(labyrinths):
    coarse, start = _first(Degradation().apply(labyrinths, 8)), _first(smooth_spins(6, seed=3))
    descent = Descent(DescentConfig(hamiltonian=LABYRINTH, steps=3, weight=20.0), Degradation(), 8)

    def objective(spins_NCYX):
        misfit = np.square(_last(descent.degrade(spins_NCYX) - coarse)).sum(axis=(1, 2, 3))
        return 32**2 * energy(_last(spins_NCYX), LABYRINTH) + 10 * misfit

    start.requires_grad_()
    after = descent(start, coarse)
    assert (objective(after) < objective(start)).all()
    after.square().mul(torch.arange(3.0)[:, None, None]).sum().backward()
    assert torch.isfinite(start.grad).all()
    assert start.grad.abs().max() > 0


@pytest.mark.parametrize(
    "config",
    [
        SuperResolutionNetConfig(scale=4, start="wiener", expanding_filters=(2,), start_projections=2),
        UNET.with_updates(start="wiener-em", depth=2, projections=2),
        UNET.with_updates(descent={"hamiltonian": "labyrinth", "steps": 2}),
    ],
)
def test_a_file_keeps_what_the_start_has_learned(tmp_path, config):
    network = config.build()
    fine = smooth_spins(4, seed=4)
    coarse = Degradation().apply(fine, 4)
    network.start.learn(_first(coarse), _first(fine))
    network(_first(coarse))
    save_weights(tmp_path / "w.safetensors", network, {})
    back = load_weights(tmp_path / "w.safetensors")
    assert back.config == config
    assert torch.equal(back.start.error, network.start.error)
    np.testing.assert_array_equal(back.reconstruct(coarse), network.reconstruct(coarse))
    assert fine_network(config.to_table()) == config


def test_a_filter_follows_its_spectrum_when_weights_are_loaded_late():
    network = UNET.with_updates(start="wiener-em").build()
    coarse = Degradation().apply(smooth_spins(3, seed=5), 4)
    before = network.reconstruct(coarse)
    state = network.state_dict()
    state["start.linear.spectrum"] = state["start.linear.spectrum"] * torch.linspace(1, 0, 364)[:, None, None] ** 8
    network.load_state_dict(state)
    assert not np.allclose(network.reconstruct(coarse), before, atol=1e-3)


def test_a_network_is_a_method_and_a_start_of_others(labyrinths):
    coarse = Degradation().apply(labyrinths, 4)
    network = UNET.build()
    with torch.no_grad():
        network.unet.last.bias += 0.05
    expected = apply(network, coarse)
    found = reconstruct(coarse, 4, "network", network=network)
    np.testing.assert_allclose(found.spins, expected, atol=1e-6)
    np.testing.assert_array_equal(reconstruct(coarse[0], 4, "network", network=network).spins, found.spins[0])
    better = reconstruct(coarse, 4, "map", hamiltonian=LABYRINTH, start=network.reconstruct(coarse)).spins
    assert np.square(better - labyrinths).mean() < 0.1 * np.square(expected - labyrinths).mean()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"scale": 4, "start_projections": 3}, "start_projections: there is no start to improve; set"),
        ({"scale": 4, "projections": 3}, "projections: gives spins of unit length; set normalized_output = true"),
        (
            {"scale": 4, "descent": {"hamiltonian": "labyrinth"}},
            "descent: gives spins of unit length; set normalized_output = true",
        ),
        ({"scale": 4, "architecture": "u-net"}, "start: this architecture corrects one; set"),
        ({"scale": 4, "architecture": "u-nets"}, "architecture: unknown value 'u-nets'; did you mean 'u-net'?"),
        ({"scale": 4, "start": "wiener-me"}, "start: unknown value 'wiener-me'; did you mean 'wiener-em'?"),
        ({"scale": 4, "residual": {}}, "residual: unknown key"),
    ],
)
def test_networks_that_make_no_sense_are_one_line(table, message):
    with pytest.raises(InputError) as error:
        fine_network(table)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_lattice_that_the_stride_of_the_u_net_does_not_divide_is_refused():
    config = SuperResolutionUNetConfig(scale=4, start="fourier")
    config.check_lattice((32, 48))
    with pytest.raises(InputError, match=r"size: the network's stride of 16 doesn't divide 40 x 32 sites"):
        config.build()(torch.zeros(1, 3, 10, 8))
