"""Arguments that `reconstruct` refuses, each in one line."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction import reconstruct

UP = np.broadcast_to([0.0, 0.0, 1.0], (1, 4, 4, 3))


def _with(value):
    spins = UP.copy()
    spins[0, 0, 0, 0] = value
    return spins


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale: 0 is invalid"),
        ({"scale": 2.5}, "scale: 2.5 is invalid"),
        ({"degradation": Degradation(mosaic=3)}, "degradation: 32 x 32 sites don't divide into blocks of 24"),
        ({"degradation": Degradation(mosaic=2)}, "degradation: it has no inverse at scale 8"),
        ({"degradation": Degradation(sigma=20.0, window=201)}, "degradation: it has no inverse at scale 8"),
        ({"coarse_NYXC": _with(np.nan)}, "coarse spins: are not all finite"),
        ({"coarse_NYXC": _with(0.2)}, "coarse spins: have lengths up to 1.02, above 1"),
        ({"coarse_NYXC": UP[..., :2]}, "coarse spins: have shape"),
        ({"method": "map"}, "hamiltonian: the method needs one"),
        ({"method": "map", "hamiltonian": Hamiltonian(boundary="open")}, "hamiltonian: its boundary is open"),
        ({"method": "map", "hamiltonian": Hamiltonian(exchange=0.0)}, "hamiltonian: all its terms are zero"),
        ({"method": "map", "hamiltonian": "labyrint"}, "labyrint"),
        ({"method": "wiener"}, "spectrum: the Wiener filter needs one"),
        ({"method": "wiener", "spectrum": np.ones((16, 16, 3, 3))}, "spectrum: of shape"),
        ({"method": "wiener", "spectrum": np.full((32, 32, 3, 3), np.nan)}, "spectrum: of shape"),
        ({"start": UP}, "start: has shape"),
        ({"method": "bicubik"}, "method: unknown name 'bicubik'"),
        ({"method": 7}, "method: 7 is not a method"),
    ],
)
def test_invalid_arguments_are_one_line(arguments, message):
    given = {"coarse_NYXC": UP, "scale": 8, "method": "fourier"} | arguments
    with pytest.raises(InputError) as caught:
        reconstruct(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
