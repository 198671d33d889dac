"""Fixtures with a Ray session in the process of the tests."""

from tests.support.sessions import context, ray_session

__all__ = ["context", "ray_session"]
