"""Comparison of fields and energies with plain loops, derivatives and exact spirals."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import LABYRINTH, Hamiltonian, Sampler, effective_field, energy, energy_terms, field, torque, trace
from rayspin.physics.examination import examine
from tests.support import reference

MODELS = {
    "exchange": Hamiltonian(exchange=0.7),
    "interfacial": Hamiltonian(exchange=0.0, dmi=-0.4),
    "bulk": Hamiltonian(exchange=0.0, dmi=0.4, dmi_kind="bulk"),
    "anisotropy": Hamiltonian(exchange=0.0, anisotropy=0.6, anisotropy_axis=(1.0, -2.0, 0.5)),
    "external_field": Hamiltonian(exchange=0.0, external_field=(0.1, -0.2, 0.3)),
    "all": Hamiltonian(dmi=0.3, anisotropy=-0.2, anisotropy_axis=(0.0, 1.0, 1.0), external_field=(0.0, 0.1, 0.4)),
    "open": Hamiltonian(dmi=0.3, dmi_kind="bulk", external_field=(0.0, 0.1, 0.4), boundary="open"),
    "exchange, open": Hamiltonian(exchange=-0.7, boundary="open"),
    "interfacial, open": Hamiltonian(exchange=0.0, dmi=-0.4, boundary="open"),
    "anisotropy, open": Hamiltonian(exchange=0.0, anisotropy=-0.6, anisotropy_axis=(3.0, 1.0, -2.0), boundary="open"),
}


@pytest.mark.parametrize("name", MODELS)
def test_energy_equals_that_of_plain_loops(name):
    spins = reference.random_spins(np.random.default_rng(1), 4, 6)
    assert energy(spins, MODELS[name]) * 24 == pytest.approx(reference.total_energy(spins, MODELS[name]), rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_field_is_minus_the_gradient_of_the_energy(name):
    """Central differences of the reference energy are exact up to rounding, because all terms are at most quadratic."""
    spins = reference.random_spins(np.random.default_rng(2), 4, 4)
    field = effective_field(spins, MODELS[name])
    step = 1e-3
    for index in np.ndindex(spins.shape):
        change = np.zeros_like(spins)
        change[index] = step
        up, down = (reference.total_energy(spins + sign * change, MODELS[name]) for sign in (1, -1))
        assert field[index] == pytest.approx(-(up - down) / (2 * step), abs=1e-6)


def test_change_of_one_spin_changes_the_energy_by_its_local_energy():
    """Without anisotropy the energy is linear in each spin, so that dE = -dS . F exactly."""
    rng = np.random.default_rng(3)
    hamiltonian = Hamiltonian(dmi=0.3, external_field=(0.1, 0.0, 0.2))
    before = reference.random_spins(rng, 6, 8)
    after = before.copy()
    after[2, 5] = reference.random_spins(rng)
    local = -(after[2, 5] - before[2, 5]) @ effective_field(before, hamiltonian)[2, 5]
    assert (energy(after, hamiltonian) - energy(before, hamiltonian)) * 48 == pytest.approx(local, abs=1e-6)


def test_energy_of_a_spiral_is_exact():
    """A cycloid that rotates by q per site along x has the energy -J (1 + cos q) - D sin q per site."""
    length, turns = 128, 6
    q = 2 * math.pi * turns / length
    spins = reference.cycloid(length, turns, direction=-1)
    assert energy(spins, LABYRINTH) == pytest.approx(-1 - math.cos(q) - 0.3 * math.sin(q), rel=1e-12)


def test_best_spiral_has_the_published_period_and_energy():
    """The period is 2 pi / arctan(D/J) = 21.56 sites, and the energy is -J - sqrt(J^2 + D^2)."""
    length = 2 * 1078  # 100 periods of 21.56
    energies = {turns: _spiral_energy(length, turns) for turns in range(95, 106)}
    best = min(energies, key=energies.get)
    assert length / best == pytest.approx(2 * math.pi / math.atan(0.3), abs=0.11)
    assert energies[best] == pytest.approx(-1 - math.sqrt(1.09), abs=1e-6)


def plane_spiral(rows, columns, up, along):
    """A spiral with `up` periods along y and `along` periods along x, with the handedness that the DMI favors."""
    qy, qx = 2 * np.pi * up / rows, 2 * np.pi * along / columns
    side = np.array([-math.sin(qx), -math.sin(qy), 0.0])
    side /= max(np.linalg.norm(side), 1e-300)
    phase = (qy * np.arange(rows)[:, None] + qx * np.arange(columns))[..., None]
    return np.cos(phase) * np.array([0.0, 0.0, 1.0]) + np.sin(phase) * side


def test_diagonal_spiral_has_the_lower_energy():
    """The energy is -2 sqrt(J^2 + D^2 / 2) = -2.04450 at wave number arctan(D / sqrt 2), or 17 periods on 511 sites."""
    result = energy(plane_spiral(511, 511, 17, 17), LABYRINTH)
    assert result == pytest.approx(-2 * math.sqrt(1 + 0.045), abs=1e-7)
    assert result == pytest.approx(-2.04450, abs=5e-6)


def test_best_single_spiral_on_128_sites():
    """Wave numbers (5, 3) have the lowest energy, -2.0443619 by an independent calculation."""
    energies = {}
    for up in range(9):
        for along in range(up + 1):
            energies[along, up] = float(energy(plane_spiral(128, 128, up, along), LABYRINTH))
    assert min(energies, key=energies.get) == (3, 5)
    assert energies[3, 5] == pytest.approx(-2.0443619, abs=5e-8)


def _spiral_energy(length, turns):
    row = reference.cycloid(length, turns, direction=-1)[:1]
    return float(energy(np.repeat(row, 2, axis=0), LABYRINTH))


@pytest.mark.parametrize("kind", ["interfacial", "bulk"])
def test_handedness_of_dmi(kind):
    """Rotation along +x from +z towards -x (interfacial) or +y (bulk) has the lower energy, as documented."""
    hamiltonian = Hamiltonian(dmi=0.3, dmi_kind=kind)

    def spiral(sense):
        angle = sense * 2 * np.pi * np.arange(32)[None, :, None] / 32
        side = np.array([-1.0, 0.0, 0.0]) if kind == "interfacial" else np.array([0.0, 1.0, 0.0])
        up = np.array([0.0, 0.0, 1.0])
        return np.broadcast_to(np.cos(angle) * up + np.sin(angle) * side, (4, 32, 3))

    assert energy(spiral(+1), hamiltonian) < energy(spiral(0), hamiltonian) < energy(spiral(-1), hamiltonian)


def test_batches_equal_single_samples_and_terms_add_up():
    spins = reference.random_spins(np.random.default_rng(4), 3, 6, 4).astype(np.float32)
    hamiltonian = MODELS["all"]
    assert effective_field(spins, hamiltonian).dtype == np.float32
    assert np.array_equal(effective_field(spins, hamiltonian)[1], effective_field(spins[1], hamiltonian))
    terms = energy_terms(spins, hamiltonian)
    assert set(terms) == {"exchange", "dmi", "dipole", "anisotropy", "external_field"}
    assert np.allclose(sum(terms.values()), energy(spins, hamiltonian), rtol=1e-14)
    assert energy(spins[1], hamiltonian) == energy(spins, hamiltonian)[1]


def test_torque_vanishes_on_a_spin_along_its_field():
    spins = reference.cycloid(128, 6, direction=-1)
    assert np.abs(torque(spins, LABYRINTH)).max() < 1e-6  # a plane spiral is stationary
    assert np.abs(torque(spins, LABYRINTH.with_updates(external_field=(0.0, 0.5, 0.0)))).max() == pytest.approx(
        0.5, rel=1e-3
    )


@pytest.mark.parametrize("module", [field, trace])
def test_docstring_examples_are_correct(module, monkeypatch):
    monkeypatch.setattr(field, "TERMS", dict(field.TERMS))  # an example adds one
    result = doctest.testmod(module)
    assert result.attempted > 5
    assert result.failed == 0


def test_each_strength_of_a_hamiltonian_is_a_term():
    assert set(Hamiltonian.model_fields) == set(field.TERMS) | {"dmi_kind", "anisotropy_axis", "boundary"}


def test_term_without_kernels_is_refused_by_sampler_and_examination(monkeypatch):
    class CubicMagnet(Hamiltonian):
        cubic: float = 0.0

    monkeypatch.setitem(field.TERMS, "cubic", field.Term(lambda spins, model: 4 * model.cubic * spins**3, degree=4))
    spins = reference.random_spins(np.random.default_rng(6), 4, 4)
    model = CubicMagnet(exchange=0.0, cubic=0.5)
    assert energy(spins, model) == pytest.approx(-0.5 * np.sum(spins**4) / 16)
    with pytest.raises(InputError, match=r"^cubic: the sampler does not support this term"):
        Sampler(model, 4, (1,))
    with pytest.raises(InputError, match=r"^cubic: the examination of stored spins does not support"):
        examine(spins[None].astype(np.float32), model)
    Sampler(CubicMagnet(), 4, (1,))


def rotate_lattice(spins):
    """Rotate the lattice by 90 degrees about z without rotating spins: the site (x, y) moves to (-y, x)."""
    return np.rot90(spins, -1, axes=(-3, -2))


def rotate_spins(spins):
    """Rotate every spin by 90 degrees about z."""
    return np.stack([-spins[..., 1], spins[..., 0], spins[..., 2]], axis=-1)


SYMMETRIES = {
    "both turned": lambda spins: rotate_spins(rotate_lattice(spins)),
    "spins turned": rotate_spins,
    "all reversed": lambda spins: -spins,
    "shifted": lambda spins: np.roll(spins, (1, 2), axis=(-3, -2)),
    "inverted": lambda spins: spins[::-1, ::-1],
    "mirrored, spins as vectors": lambda spins: spins[:, ::-1] * [-1, 1, 1],
    "mirrored, spins as axial vectors": lambda spins: spins[:, ::-1] * [1, -1, -1],
    "transposed, spins as vectors": lambda spins: spins.swapaxes(0, 1)[..., [1, 0, 2]],
    "spins turned about y": lambda spins: np.stack([spins[..., 2], spins[..., 1], -spins[..., 0]], axis=-1),
    "spins upside down": lambda spins: spins * [1, 1, -1],
}
MIRRORS = ["mirrored, spins as vectors", "mirrored, spins as axial vectors", "transposed, spins as vectors"]
CONSERVED = {
    "exchange": set(SYMMETRIES),
    "exchange, open": set(SYMMETRIES) - {"shifted"},
    "interfacial": {"both turned", "all reversed", "shifted", *MIRRORS},
    "interfacial, open": {"both turned", "all reversed", *MIRRORS},
    "bulk": {"both turned", "all reversed", "shifted"},
    "dipole": {"both turned", "all reversed", "shifted", "inverted", "spins upside down", *MIRRORS},
    "easy axis z": set(SYMMETRIES) - {"spins turned about y"},
    "easy axis x": set(SYMMETRIES)
    - {"both turned", "spins turned", "spins turned about y", "transposed, spins as vectors"},
    "tilted easy axis": {"all reversed", "shifted", "inverted"},
    "field along z": set(SYMMETRIES)
    - {"all reversed", "mirrored, spins as axial vectors", "spins turned about y", "spins upside down"},
    "field along x": {"shifted", "inverted", "mirrored, spins as axial vectors", "spins upside down"},
}
TERMS = {
    "exchange": Hamiltonian(),
    "exchange, open": Hamiltonian(boundary="open"),
    "interfacial": Hamiltonian(exchange=0.0, dmi=0.3),
    "interfacial, open": Hamiltonian(exchange=0.0, dmi=0.3, boundary="open"),
    "bulk": Hamiltonian(exchange=0.0, dmi=0.3, dmi_kind="bulk"),
    "dipole": Hamiltonian(exchange=0.0, dipole=0.3),
    "easy axis z": Hamiltonian(exchange=0.0, anisotropy=0.3),
    "easy axis x": Hamiltonian(exchange=0.0, anisotropy=0.3, anisotropy_axis=(1.0, 0.0, 0.0)),
    "tilted easy axis": Hamiltonian(exchange=0.0, anisotropy=0.3, anisotropy_axis=(1.0, 2.0, 3.0)),
    "field along z": Hamiltonian(exchange=0.0, external_field=(0.0, 0.0, 0.3)),
    "field along x": Hamiltonian(exchange=0.0, external_field=(0.3, 0.0, 0.0)),
}


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("term", TERMS)
def test_each_term_has_exactly_its_symmetries(term, symmetry):
    spins = reference.random_spins(np.random.default_rng(5), 8, 8)
    before, after = (energy(field, TERMS[term]) for field in (spins, SYMMETRIES[symmetry](spins)))
    if symmetry in CONSERVED[term]:
        assert after == pytest.approx(before, rel=1e-9)
    else:
        assert abs(after - before) > 1e-4
