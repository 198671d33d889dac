"""The private names of Ray that rayspin uses, all of them: Ray has no public way to do these four things.

pyproject.toml bounds the version, and `tests/unit/execution/test_internals.py` fails when a version does not have them.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def loopback_addresses() -> Iterator[None]:
    """A context in which Ray connects to 127.0.0.1 as it is given.

    On Linux, Ray replaces a loopback address by one that other machines can reach, where an embedded Ray does not
    listen.
    """
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def authenticated(environment: Mapping[str, str]) -> Iterator[None]:
    """A context in which this process uses the token that these environment variables name.

    Ray reads the mode and the token once, when it is imported.

    Args:
        environment: RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH.
    """
    from ray import _raylet

    config, loader = vars(_raylet)["Config"], vars(_raylet)["AuthenticationTokenLoader"]

    def read_again() -> None:
        config.initialize("")
        loader.instance().reset_cache()

    names = {*environment, "RAY_AUTH_TOKEN"}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(environment)
    try:
        read_again()
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
        read_again()


def silence_disconnection() -> None:
    """Keep what workers and daemons print at their end, pages of it, out of the terminal. Ray's logs have it too."""
    import ray._private.worker as internals

    internals.__dict__["print_to_stdstream"] = lambda *_, **__: None


def skip_exit_calls() -> None:
    """Keep Ray Tune from calling a Ray that has died when this process exits: the call blocks for a minute."""
    if "ray.tune.registry" in sys.modules:
        atexit.unregister(vars(sys.modules["ray.tune.registry"])["_unregister_all"])
