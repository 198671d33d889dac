"""Fixtures with a dataset that tests may damage."""

from tests.support.harm import dataset, original

__all__ = ["dataset", "original"]
