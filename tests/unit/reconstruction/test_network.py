"""Networks as a method of reconstruction: any object with a scale and a method `reconstruct`."""

from types import SimpleNamespace

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.reconstruction import Network, reconstruct


class Blocks:
    """A network that repeats each pixel, twice as long."""

    config = SimpleNamespace(scale=4)

    def reconstruct(self, coarse_NYXC):
        return 2 * np.repeat(np.repeat(coarse_NYXC, 4, axis=-3), 4, axis=-2)


def _coarse(shape):
    spins = np.random.default_rng(1).normal(size=(*shape, 3)).astype(np.float32)
    return spins / np.linalg.norm(spins, axis=-1, keepdims=True)


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 5)])
def test_the_output_of_a_network_becomes_unit_spins(shape):
    coarse = _coarse(shape)
    expected = np.repeat(np.repeat(coarse, 4, axis=-3), 4, axis=-2)
    for method, options in (("network", {"network": Blocks()}), (Network(Blocks()), {})):
        np.testing.assert_allclose(reconstruct(coarse, 4, method, **options).spins, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "method", "network", "message"),
    [
        (4, "network", None, 'network: the method "network" needs one; give one such as'),
        (8, "network", Blocks(), "network: it has scale 4, and the coarse spins have 8; give a network of scale 8"),
        (4, "network", "labyrinth-x4", "network: 'labyrinth-x4' reconstructs no fine spins; give one such as"),
        (4, "fourier", Blocks(), 'network: the method takes none; use method = "network"'),
        (4, "networks", None, "method: unknown name 'networks'; did you mean 'network'?"),
    ],
)
def test_what_is_no_network_for_the_spins_is_one_line(scale, method, network, message):
    with pytest.raises(InputError) as error:
        reconstruct(_coarse((2, 4, 4)), scale, method, network=network)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
