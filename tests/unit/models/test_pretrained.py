"""The networks in the package, on spins that none of them has seen."""

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.models import apply, pretrained, weights_info
from rayspin.models.shipped import FOLDER
from rayspin.physics import LABYRINTH, LABYRINTH_SCHEDULE, anneal_many, effective_field, energy


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


def test_uniform_states_have_no_deviation():
    directions = np.random.default_rng(1).normal(size=(6, 1, 1, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    uniform = np.broadcast_to(directions, (6, 32, 32, 3)).astype(np.float32)
    # Against a root mean square of 0.05 J in labyrinths.
    assert np.abs(apply(pretrained("labyrinth-field"), uniform)).max() < 0.01


def test_each_file_is_small_and_has_a_card_with_its_figures():
    files = list(FOLDER.glob("*.safetensors"))
    assert [path.stem for path in files] == ["labyrinth-field"]
    for path in files:
        assert path.stat().st_size < 1e6
        provenance = weights_info(path)["provenance"]
        card = path.with_suffix(".md").read_text()
        for word in ("Licence", "Data", "Seeds", str(provenance["training"]["seed"]), provenance["data"]["digest"]):
            assert word in card
        assert "/tmp" not in str(provenance)


@pytest.mark.parametrize("name", ["labyrinth", "../pretrained/labyrinth-field", "", 4, None])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(
        InputError, match=r"^pretrained: .* is not a network of this package; .*labyrinth-field"
    ) as error:
        pretrained(name)
    assert "\n" not in str(error.value)
