"""Fixtures with a Ray session in the process of the tests, and with a dataset that tests may damage."""

from tests.support.harm import dataset, original
from tests.support.sessions import context, ray_session

__all__ = ["context", "dataset", "original", "ray_session"]
