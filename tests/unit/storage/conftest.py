"""The dataset that tests harm, where they don't make another."""

from tests.support.harm import dataset, original

__all__ = ["dataset", "original"]
