"""Sources that the tests of training share."""

import pytest

from tests.support.training import memory_source


@pytest.fixture
def train():
    return memory_source(12, seed=1)


@pytest.fixture
def validation():
    return memory_source(5, seed=2)
