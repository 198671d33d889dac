"""Options of a job on a cluster.

They are declared here once. The options of `rayspin submit` and `python -m rayspin.launch`, the keys of a site profile
and the parameters of the supervisors all follow from these classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pydantic

from rayspin.config import Config
from rayspin.errors import InputError


class SupervisorOptions(Config):
    """Options of a job that the supervisors on its nodes use."""

    min_nodes: int | None = pydantic.Field(default=None, gt=0)
    """Number of nodes with which the job starts if the others do not come up; by default all nodes."""
    interface: str | None = None
    """Network interface between the nodes ("ib0"); by default the one that the host names resolve to."""
    scratch: str | None = None
    """Folder on the nodes' local disks, at most 30 characters; by default $TMPDIR or /tmp."""
    drain_seconds: int = pydantic.Field(default=120, ge=30)
    """Seconds before the walltime at which the job starts no further work, so that it can end and be requeued."""
    max_attempts_without_progress: int = pydantic.Field(default=3, gt=0)
    """Number of attempts in a row without progress after which the job fails instead of being requeued."""

    @property
    def scratch_folder(self) -> Path | None:
        """The folder `scratch` as a path."""
        return None if self.scratch is None else Path(self.scratch)


class SubmitOptions(SupervisorOptions):
    """All options of a job: the cluster, its nodes, the resources on each node and the options of the supervisors."""

    cluster: Literal["slurm", "local"] = "slurm"
    """The scheduler: "slurm", or "local" for processes on this machine."""
    nodes: int = pydantic.Field(default=1, gt=0)
    """Number of nodes. With cluster "local", the number of tasks on this machine that stand in for nodes."""
    array: int | None = pydantic.Field(default=None, gt=0)
    """Number of tasks of a job array, which replaces the Ray cluster for generation. Each task has one node and starts
    and ends independently of the others."""
    time: str = "1:00:00"
    """Walltime in the formats of Slurm: minutes, hours:minutes:seconds, days-hours, days-hours:minutes, ..."""
    partition: str | None = None
    """Slurm partition; by default that of the site."""
    account: str | None = None
    """Slurm account to charge; by default that of the user."""
    qos: str | None = None
    """Slurm quality of service."""
    constraint: str | None = None
    """Features that the nodes must have (sbatch --constraint)."""
    exclusive: bool | None = None
    """Whether the job gets whole nodes, not shared with other jobs; by default only if `cpus_per_node` is not set."""
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    """Number of CPUs on each node."""
    gpus_per_node: int = pydantic.Field(default=0, ge=0)
    """Number of GPUs on each node."""
    memory_per_node: str | None = None
    """Memory on each node in the format of Slurm: "64G", or "0" for all memory of a node."""
    modules: tuple[str, ...] = ()
    """Environment modules to load before the job, in this order: ["gcc/12", "python/3.11"]."""
    setup: tuple[str, ...] = ()
    """Shell commands to run before the job, after the modules are loaded."""
    options: dict[str, str] = pydantic.Field(default={})
    """Further options of sbatch, without dashes: {"reservation": "weekend"}."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SubmitOptions:
        if self.min_nodes is not None and self.min_nodes > self.nodes:
            problem = f"{self.min_nodes} is more than nodes ({self.nodes})"
            raise InputError("min_nodes", problem, "increase nodes or reduce min_nodes")
        if self.array is not None and self.nodes > 1:
            problem = f"{self.nodes} nodes, but each of the {self.array} tasks of an array runs on one node"
            raise InputError("nodes", problem, "remove nodes or array")
        if self.minutes * 60 <= 2 * self.drain_seconds:
            problem = f"{self.time} is too short: the drain starts {self.drain_seconds} s before the end"
            raise InputError("time", problem, "increase time or reduce drain_seconds")
        return self

    @property
    def whole_nodes(self) -> bool:
        """Whether the job gets whole nodes, not shared with other jobs."""
        return self.cpus_per_node is None if self.exclusive is None else self.exclusive

    @property
    def minutes(self) -> int:
        """The walltime, rounded up to whole minutes.

        Raises:
            InputError: `time` is not in a format of Slurm.
        """
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if found is None:
            remedy = 'write "minutes", "hours:minutes:seconds" or "days-hours"'
            raise InputError("time", f"{self.time!r} is not a valid walltime", remedy)
        days, *rest = found.groups()
        parts = [int(part) for part in rest if part is not None]
        if days is not None:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 3:
            hours, minutes, seconds = parts
        else:
            hours, (minutes, seconds) = 0, (*parts, 0)[:2]
        return int(days or 0) * 1440 + hours * 60 + minutes + (seconds > 0)
