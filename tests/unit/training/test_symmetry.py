"""Symmetries: the groups that the Hamiltonians of the papers are known to have, and energies that stay."""

import numpy as np
import pytest

from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, energy
from rayspin.training.symmetry import Symmetry, symmetries

BULK = Hamiltonian(dmi=0.3, dmi_kind="bulk")
IN_FIELD = Hamiltonian(dmi=0.3, external_field=(0.0, 0.0, 0.1))
EASY_X = Hamiltonian(anisotropy=0.2, anisotropy_axis=(1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("hamiltonian", "kept"),
    [
        (LABYRINTH, lambda s: True),
        (DOMAIN, lambda s: True),
        (BULK, lambda s: not s.mirror),
        # Spins along z turn over in a mirror as they do in a reversal.
        (IN_FIELD, lambda s: s.mirror == s.reversal),
        (EASY_X, lambda s: s.turns % 2 == 0),
    ],
)
def test_the_group_is_the_one_of_the_hamiltonian(hamiltonian, kept):
    everything = {Symmetry(m, t, r) for m in (False, True) for t in range(4) for r in (False, True)}
    assert set(symmetries(hamiltonian, (16, 16))) == {s for s in everything if kept(s)}
    oblong = {s for s in everything if kept(s) and s.turns % 2 == 0}
    assert set(symmetries(hamiltonian, (16, 32))) == oblong


@pytest.mark.parametrize("hamiltonian", [LABYRINTH, BULK, IN_FIELD, EASY_X])
def test_symmetries_keep_the_energy_and_others_do_not(hamiltonian):
    spins = np.random.default_rng(2).normal(size=(12, 12, 3)).astype(np.float32)
    group = symmetries(hamiltonian, (12, 12))
    before = energy(spins, hamiltonian)
    for mirror in (False, True):
        for turns in range(4):
            for reversal in (False, True):
                operation = Symmetry(mirror, turns, reversal)
                same = energy(operation(spins), hamiltonian) == pytest.approx(float(before), rel=1e-5)
                assert same == (operation in group)


def test_a_quarter_turn_takes_x_to_y():
    spins = np.zeros((8, 8, 3), np.float32)
    spins[0, :4, 0] = 1
    turned = Symmetry(mirror=False, turns=1, reversal=False)(spins)
    # A row of spins along x has become a column of spins along y.
    assert (turned[..., [0, 2]] == 0).all()
    rows, columns = np.nonzero(turned[..., 1])
    assert len(set(columns)) == 1
    assert len(set(rows)) == 4


def test_a_mirror_keeps_the_component_along_its_normal():
    spins = np.tile(np.array([1, 2, 3], np.float32), (4, 4, 1))
    mirrored = Symmetry(mirror=True, turns=0, reversal=False)(spins)
    assert (mirrored == [1, -2, -3]).all()
