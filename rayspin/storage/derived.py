"""What follows from the spins of a dataset: their effective field and their coarse versions.

Both are computed when they are read; a job that asks for them has them stored beside the spins as well, for programs
that can't compute them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Degradation, effective_field
from rayspin.storage.points import Point, each_point, parameters_of
from rayspin.storage.schema import IN_J, VARIABLES, Variable

_COARSE = "coarse"
_FIELD = Variable("field", ("sample", "y", "x", "component"), "f4", "1", f"effective field -dH/dS, {IN_J}")


class Derived(Config):
    """Variables that are computed from spins: `field`, and a `coarse4` for a scale of 4."""

    field: bool = False
    """The effective field of each sample under its own Hamiltonian, J."""
    coarse: tuple[Annotated[int, Field(gt=1)], ...] = ()
    """Scales: so many fine sites for one coarse pixel, along each axis."""
    degradation: Degradation = Degradation()
    """How fine spins become coarse ones; the published one by default."""

    @property
    def variables(self) -> dict[str, Variable]:
        """Each of them by name."""
        coarse = [_coarse_variable(scale) for scale in self.coarse]
        return {variable.name: variable for variable in ([_FIELD] if self.field else []) + coarse}

    def check(self, size: tuple[int, int], points: Sequence[Point]) -> None:
        """Raise InputError unless all of it can be computed for lattices of (rows, columns)."""
        if len(set(self.coarse)) < len(self.coarse):
            raise InputError("coarse", f"{list(self.coarse)} has a scale twice", "give each one once")
        for scale in self.coarse:
            self.degradation.check_lattice(size, scale)
        if self.coarse and any(point.hamiltonian.boundary == "open" for point in points):
            raise InputError(
                "coarse", "the lattice has open edges, and a degradation wraps around them", "leave it out"
            )

    def within(self, stored: Derived) -> Derived:
        """The part of it that a dataset with these stored variables has on disk."""
        same = self.degradation == stored.degradation
        coarse = tuple(scale for scale in self.coarse if same and scale in stored.coarse)
        return self.with_updates(field=self.field and stored.field, coarse=coarse)

    def compute(
        self, name: str, points: Sequence[Point], samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """One of the variables for spins of these samples, (n, Y, X, 3), coarse ones (n, Y / scale, X / scale, 3)."""
        if name != _FIELD.name:
            return self.degradation.apply(spins_NYXC, int(name.removeprefix(_COARSE)))
        field_NYXC = np.empty(spins_NYXC.shape, np.float32)
        for point, here in each_point(points, samples):
            field_NYXC[here] = effective_field(spins_NYXC[here], point.hamiltonian)
        return field_NYXC


def variables_of(points: Sequence[Point], derived: Derived) -> dict[str, Variable]:
    """Every variable of a shard of such a dataset, by name."""
    parameters = {name: variable for name, (variable, _) in parameters_of(points).items()}
    return VARIABLES | derived.variables | parameters


def _coarse_variable(scale: int) -> Variable:
    return Variable(
        f"{_COARSE}{scale}",
        ("sample", f"y{scale}", f"x{scale}", "component"),
        "f4",
        "1",
        f"spins with one pixel for {scale} x {scale} sites; not of unit length",
    )
