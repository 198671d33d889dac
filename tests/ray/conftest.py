"""One Ray for the tests here that need one in their own process, and the dataset that they harm."""

from tests.support.harm import dataset, original
from tests.support.sessions import context, ray_session

__all__ = ["context", "dataset", "original", "ray_session"]
