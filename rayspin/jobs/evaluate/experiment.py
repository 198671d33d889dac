"""Base class of the experiments of the recursive process: with the network, the exact field and exact descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic

from rayspin.analysis.trajectory import Trajectory
from rayspin.analysis.twins import Twin, follow
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.network import Case, NetworkEvaluation
from rayspin.models import FieldNetConfig

BRIEF = 10
"""Number of iterations of the recursive process that are timed for a plan."""


class Experiment(NetworkEvaluation):
    """An experiment of the recursive process, with one row for each sample, estimator and recorded step."""

    share_samples: ClassVar[int] = 4

    estimators: tuple[Twin, ...] = pydantic.Field(default=("network", "exact", "descent"), min_length=1)
    """Processes to run: "network" aligns the spins with the network's output, "exact" with the exact field in place of
    it, and "descent" aligns one spin after another with the exact field, at T = 0."""
    isotropic: float = 0.0
    """Coefficient c of the isotropic part c S that is added to the output of the network in each iteration, J. It
    exerts no torque; it slows the alignment."""

    def expects(self) -> type[FieldNetConfig]:
        """Return the config class of effective-field networks."""
        return FieldNetConfig

    def follow(self, estimator: Twin, case: Case, start_NYXC: Spins, iterations: int, **options: Any) -> Trajectory:
        """Return the trajectory of an estimator; see `rayspin.analysis.twins.follow`."""
        return follow(
            estimator,
            case.network,
            start_NYXC,
            case.hamiltonian,
            iterations,
            isotropic=self.isotropic,
            seed=self.seed,
            **options,
        )


def listed(values: Sequence[float], form: str) -> str:
    """Return numbers in a format, separated by commas."""
    return ", ".join(format(value, form) for value in values)
