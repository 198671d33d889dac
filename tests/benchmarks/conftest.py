"""Fixtures with a Ray session and a real Slurm cluster."""

from tests.support.sessions import context, ray_session
from tests.support.slurm.fixtures import labs, slurm

__all__ = ["context", "labs", "ray_session", "slurm"]
