"""One Ray for the tests here that need one in their own process."""

from tests.support.sessions import context, ray_session

__all__ = ["context", "ray_session"]
