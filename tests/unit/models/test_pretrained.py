"""The networks in the package, on spins that none of them has seen."""

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.models import apply, pretrained, weights_info
from rayspin.models.shipped import FOLDER
from rayspin.physics import (
    DOMAIN,
    DOMAIN_SCHEDULE,
    LABYRINTH,
    LABYRINTH_SCHEDULE,
    Degradation,
    anneal_many,
    effective_field,
    energy,
)
from rayspin.reconstruction import reconstruct

FINE = {
    "labyrinth-x4": 3e-6,
    "labyrinth-x8": 1e-4,
    "domain-x4": 3e-7,
    "domain-x8": 2e-5,
    "domain-x16": 1e-3,
}
"""Bounds of the mean squared error over a few fresh fields of 64 x 64 sites."""


@pytest.fixture(scope="module")
def domains():
    return anneal_many(DOMAIN, 64, DOMAIN_SCHEDULE, [(99, sample) for sample in range(4)])


@pytest.fixture(scope="module")
def spins():
    """Fresh labyrinths: their seed isn't that of the training data."""
    return anneal_many(LABYRINTH, 64, LABYRINTH_SCHEDULE, [(99, sample) for sample in range(8)])


def test_the_field_of_fresh_labyrinths_is_far_better_than_the_best_multiple_of_s(spins):
    network = pretrained("labyrinth-field")
    assert network.output.isotropic == 4
    exact = effective_field(spins, LABYRINTH).astype(np.float64)
    error = network.field(spins) - exact
    multiple = (exact * spins).sum() / np.square(spins).sum() * spins - exact
    assert np.square(error).mean() < 1e-5 < np.square(multiple).mean() / 5
    deviation, estimate = (exact - 4 * spins).ravel(), apply(network, spins).ravel()
    assert np.corrcoef(deviation, estimate)[0, 1] > 0.998
    energies = -(spins * network.field(spins)).sum(-1).mean((1, 2)) / 2
    np.testing.assert_allclose(energies, energy(spins, LABYRINTH), rtol=2e-4)


@pytest.mark.parametrize(("name", "bound"), FINE.items())
def test_fine_spins_are_nearer_to_fresh_fields_than_those_of_projections_alone(name, bound, spins, domains):
    network = pretrained(name)
    truth = spins if name.startswith("labyrinth") else domains
    scale = network.config.scale
    coarse = Degradation().apply(truth, scale)
    found = network.reconstruct(coarse)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    error = np.square(found - truth).mean()
    assert error < bound
    assert error < 0.9 * np.square(reconstruct(coarse, scale, "projections").spins - truth).mean()
    # In the package as by hand.
    np.testing.assert_allclose(reconstruct(coarse, scale, "network", network=network).spins, found, atol=1e-6)


def test_uniform_states_have_no_deviation():
    directions = np.random.default_rng(1).normal(size=(6, 1, 1, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    uniform = np.broadcast_to(directions, (6, 32, 32, 3)).astype(np.float32)
    # Against a root mean square of 0.05 J in labyrinths.
    assert np.abs(apply(pretrained("labyrinth-field"), uniform)).max() < 0.01


def test_each_file_is_small_and_has_a_card_with_its_figures():
    files = list(FOLDER.glob("*.safetensors"))
    assert {path.stem for path in files} == {"labyrinth-field", *FINE}
    for path in files:
        assert path.stat().st_size < 1e6
        provenance = weights_info(path)["provenance"]
        card = path.with_suffix(".md").read_text()
        for word in ("License", "Data", "Seeds", str(provenance["training"]["seed"]), provenance["data"]["digest"]):
            assert word in card
        assert "/tmp" not in str(provenance)


@pytest.mark.parametrize("name", ["labyrinth", "../pretrained/labyrinth-field", "", 4, None])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(
        InputError, match=r"^pretrained: .* is not a network of this package; .*labyrinth-(field|x4|x8)"
    ) as error:
        pretrained(name)
    assert "\n" not in str(error.value)
