"""Variables that are computed from the spins of a dataset: the effective field and coarse versions of the spins.

By default they are computed on reading. A job can also store them with the spins, for programs that can't compute them.
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
    """The variables to compute from spins: `field`, and one such as `coarse4` (scale 4) for each scale."""

    field: bool = False
    """The effective field of each sample under its own Hamiltonian, J."""
    coarse: tuple[Annotated[int, Field(gt=1)], ...] = ()
    """Scales of the coarse versions: fine sites per coarse pixel along each axis."""
    degradation: Degradation = Degradation()
    """The degradation that computes coarse spins from fine ones; the published one by default."""

    @property
    def variables(self) -> dict[str, Variable]:
        """The derived variables by name."""
        coarse = [_coarse_variable(scale) for scale in self.coarse]
        return {variable.name: variable for variable in ([_FIELD] if self.field else []) + coarse}

    def check(self, size: tuple[int, int], points: Sequence[Point]) -> None:
        """Check that all variables can be computed.

        Args:
            size: rows and columns of the fine lattice.
            points: the parameter points of the dataset.

        Raises:
            InputError: a scale occurs twice or doesn't divide the lattice, or the lattice has open boundaries.
        """
        if len(set(self.coarse)) < len(self.coarse):
            raise InputError("coarse", f"{list(self.coarse)} contains a scale twice", "give each scale once")
        for scale in self.coarse:
            self.degradation.check_lattice(size, scale)
        if self.coarse and any(point.hamiltonian.boundary == "open" for point in points):
            raise InputError(
                "coarse", "a degradation needs periodic boundaries, and the lattice has open ones", "omit coarse"
            )

    def within(self, stored: Derived) -> Derived:
        """The subset of these variables that a dataset with the derived variables `stored` has on disk."""
        same = self.degradation == stored.degradation
        coarse = tuple(scale for scale in self.coarse if same and scale in stored.coarse)
        return self.with_updates(field=self.field and stored.field, coarse=coarse)

    def compute(
        self, name: str, points: Sequence[Point], samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Compute one of the variables.

        Args:
            name: name of the variable.
            points: the parameter points of the dataset.
            samples: (n,) sample numbers, which select the point of each sample.
            spins_NYXC: (n, Y, X, 3) spins of these samples.

        Returns:
            the field, J, (n, Y, X, 3), or coarse spins, (n, Y / scale, X / scale, 3), float32.

        Raises:
            InputError: the scale doesn't divide the lattice.
        """
        if name != _FIELD.name:
            return self.degradation.apply(spins_NYXC, int(name.removeprefix(_COARSE)))
        field_NYXC = np.empty(spins_NYXC.shape, np.float32)
        for point, here in each_point(points, samples):
            field_NYXC[here] = effective_field(spins_NYXC[here], point.hamiltonian)
        return field_NYXC


def variables_of(points: Sequence[Point], derived: Derived) -> dict[str, Variable]:
    """Every variable in the shards of a dataset with these points and derived variables, by name."""
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
