"""The exact field of a preset by its name; sizes as numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import ExactField
from rayspin.physics import effective_field
from tests.support import reference


@pytest.mark.parametrize("name", ["labyrinth", "domain"])
def test_the_field_of_a_preset_is_the_effective_field(name):
    spins = reference.random_spins(np.random.default_rng(1), 1, 8, 8).astype(np.float32)
    field = ExactField(name, 8)(torch.from_numpy(np.moveaxis(spins, -1, 1)))
    np.testing.assert_allclose(np.moveaxis(field.numpy(), 1, -1), effective_field(spins, name), atol=1e-5)


def test_what_is_no_hamiltonian_is_named():
    with pytest.raises(InputError, match=r"hamiltonian: 0\.3 is not a Hamiltonian"):
        ExactField(0.3, 8)
