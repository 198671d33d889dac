"""What the benchmarks need of a Ray, and of a real Slurm."""

from tests.support.sessions import context, ray_session
from tests.support.slurm.fixtures import labs, slurm

__all__ = ["context", "labs", "ray_session", "slurm"]
