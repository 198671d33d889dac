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
        ({"coarse_NYXC": UP[0, 0, :, :1]}, "coarse spins: have shape"),
        ({"coarse_NYXC": UP[..., 2:], "method": "wiener-em"}, "not S_z alone"),
        ({"shifts": ((0, 0), (4, 4))}, "coarse spins: have shape (1, 4, 4, 3)"),
        ({"shifts": (4, 4)}, "shifts: (4, 4) is invalid"),
        ({"shifts": ((0.5, 0),)}, "shifts: 0.5 is invalid"),
        ({"shifts": ()}, "shifts: () is invalid"),
        ({"coarse_NYXC": UP[:, None].repeat(2, axis=1), "shifts": ((0, 0), (4, 4)), "method": "bicubic"}, "shifts: an"),
        ({"noise": -0.1}, "noise: -0.1 is invalid"),
        ({"noise": "loud"}, "noise: 'loud' is invalid"),
        ({"known": np.ones((4, 5), bool)}, "known: has shape (4, 5)"),
        ({"known": np.ones((4, 4))}, "known: has shape (4, 4) and dtype float64"),
        ({"known": np.zeros((4, 4), bool)}, "known: has no pixel in some field"),
        ({"degradation": 7}, "degradation: 7 is not a Degradation"),
        ({"method": "map"}, "hamiltonian: the method needs one"),
        ({"method": "map", "hamiltonian": Hamiltonian(boundary="open")}, "hamiltonian: its boundary is open"),
        ({"method": "map", "hamiltonian": Hamiltonian(exchange=0.0)}, "hamiltonian: all its terms are zero"),
        ({"method": "map", "hamiltonian": "labyrint"}, "labyrint"),
        ({"method": "wiener"}, "spectrum: the Wiener filter needs one"),
        ({"method": "wiener", "spectrum": np.ones((16, 16, 3, 3))}, "spectrum: is not a spectrum of this lattice"),
        (
            {"method": "wiener", "spectrum": np.full((32, 32, 3, 3), np.nan)},
            "spectrum: is not a spectrum of this lattice",
        ),
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


def test_lengths_above_one_are_accepted_with_noise():
    assert reconstruct(_with(0.2), 8, "fourier", noise=0.1).spins.shape == (1, 32, 32, 3)


def test_the_remedy_for_nan_is_the_mask():
    with pytest.raises(InputError, match="mark missing pixels by known"):
        reconstruct(_with(np.nan), 8, "fourier")
    known = np.ones((1, 4, 4), bool)
    known[0, 0, 0] = False
    np.testing.assert_allclose(reconstruct(_with(np.nan), 8, "fourier", known=known).spins[..., 2], 1, atol=1e-6)
