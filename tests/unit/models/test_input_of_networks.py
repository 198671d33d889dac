"""What networks are given: whatever has one meaning works, and the rest is one line of rayspin's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import Degrade, EffectiveFieldNetConfig, SuperResolutionNetConfig, apply
from rayspin.models.degradation import Restore
from rayspin.physics import Degradation

FIELD = EffectiveFieldNetConfig(encoder_filters=(2, 3), decoder_filters=(3, 2))
SUPER = SuperResolutionNetConfig(scale=4, expanding_filters=(2,), start="fourier", normalized_output=True)
SPINS = np.random.default_rng(1).normal(size=(3, 8, 4, 3)).astype(np.float32)


@pytest.mark.parametrize(("config", "scale"), [(FIELD, 1), (SUPER, 4)])
def test_one_field_gives_what_it_gives_in_a_batch(config, scale):
    network = config.build()
    whole = apply(network, SPINS)
    assert whole.shape == (3, 8 * scale, 4 * scale, 3)
    single = apply(network, SPINS[1])
    assert single.shape == (8 * scale, 4 * scale, 3)
    np.testing.assert_allclose(single, whole[1], atol=1e-5)
    np.testing.assert_allclose(apply(network, SPINS, batch_size=np.int64(2)), whole, atol=1e-5)


@pytest.mark.parametrize("convert", [lambda a: a.astype(np.float64), lambda a: a.tolist(), torch.from_numpy])
def test_arrays_of_any_real_numbers_are_taken(convert):
    network = FIELD.build()
    np.testing.assert_array_equal(apply(network, convert(SPINS)), apply(network, SPINS))
    up = np.zeros((4, 4, 3), int)
    up[..., 2] = 1
    np.testing.assert_array_equal(apply(network, up), apply(network, up.astype(np.float32)))


def test_a_network_in_float64_gives_float32_as_any_other():
    network = FIELD.build()
    expected = apply(network, SPINS)
    found = apply(network.double(), SPINS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_has_no_weights_is_applied_as_well():
    np.testing.assert_allclose(apply(Degrade(Degradation(), 4), SPINS), Degradation().apply(SPINS, 4), atol=1e-6)


REFUSED = {
    "no samples": (SPINS[:0], "spins: have shape (0, 8, 4, 3); give"),
    "no components": (SPINS[..., 0], "spins: have shape (3, 8, 4); give"),
    "components first": (np.moveaxis(SPINS, -1, 1), "spins: have shape (3, 3, 8, 4); give"),
    "five axes": (SPINS[None], "spins: have shape (1, 3, 8, 4, 3); give"),
    "NaN": (np.full((4, 4, 3), np.nan), "spins: are not all finite"),
    "texts": ("spins.npy", "spins: have shape (); give"),
    "another size": (SPINS[:, :6], "size: the network's stride of 4 doesn't divide 6 x 4 sites; use"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_spins_that_can_not_be_applied_are_one_line(case):
    spins, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        apply(FIELD.build(), spins)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None])
def test_no_batch_is_of_such_a_size(batch_size):
    with pytest.raises(InputError, match=r"batch_size: .* is invalid"):
        apply(FIELD.build(), SPINS, batch_size)


@pytest.mark.parametrize("network", [None, "best.safetensors", FIELD])
def test_what_is_no_network_is_not_applied(network):
    with pytest.raises(InputError, match=r"network: .* is not a network; give one"):
        apply(network, SPINS)


def test_a_result_that_is_not_finite_is_an_error_and_no_figure():
    network = FIELD.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e30)
    with pytest.raises(InputError, match="network: its output is not finite"):
        apply(network, SPINS)


@pytest.mark.parametrize("config", [FIELD, SUPER])
@pytest.mark.parametrize(
    ("spins", "message"),
    [
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.float64),
            "spins: are torch.float64 on cpu, but the network is torch.float32",
        ),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "spins: are torch.int64 on cpu, but the network is torch.float32"),
        (torch.zeros(3, 4, 4), "spins: have shape (3, 4, 4); give (N, 3, Y, X)"),
        (torch.zeros(1, 4, 4, 3), "spins: have shape (1, 4, 4, 3); give (N, 3, Y, X)"),
        (
            torch.zeros(1, 3, 4, 4, device="meta"),
            "spins: are torch.float32 on meta, but the network is torch.float32 on cpu",
        ),
        (np.zeros((1, 3, 4, 4)), "spins: are of type ndarray, not a tensor; use rayspin.models.apply"),
    ],
)
def test_tensors_that_a_network_can_not_take_are_one_line(config, spins, message):
    with pytest.raises(InputError) as error:
        config.build()(spins)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("module", [Degrade(Degradation(), 4), Restore(Degradation(), 4)])
@pytest.mark.parametrize("maps", [torch.ones(1, 3, 8, 8, dtype=torch.int64), torch.ones(3), np.ones((1, 3, 8, 8))])
def test_a_degradation_does_not_round_its_weights_to_whole_numbers(module, maps):
    with pytest.raises(InputError, match="spins: are not a tensor"):
        module(maps)


@pytest.mark.parametrize("config", [FIELD, SUPER, Degradation()])
@pytest.mark.parametrize("shape", [(0, 8), (8.0, 8), "88", None, (8, 8, 8)])
def test_no_lattice_is_of_such_a_shape(config, shape):
    with pytest.raises(InputError, match=r"size: .* (is out of range|is not a lattice size)"):
        config.check_lattice(*(shape, 4) if config == Degradation() else (shape,))


def test_a_number_is_a_square():
    for side in (8, np.int64(8), np.array([8, 8])):
        FIELD.check_lattice(side)
        SUPER.check_lattice(side)
        Degradation().check_lattice(side, np.int64(4))
