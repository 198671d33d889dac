"""Methods of reconstruction in job files, and what they learn once from many fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError, shown
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction import METHODS, Method, Reconstruction, Wiener, WienerEM, reconstruct
from rayspin.reconstruction.problem import Operator, Problem, Spectrum


def _method(value: Any) -> Method:
    """Return the method of a name, or of a table of its name and its options."""
    if isinstance(value, tuple(METHODS.values())):
        return value
    if not isinstance(value, str | Mapping):
        raise InputError("", f"{shown(value)} is not a method", f"give one of {', '.join(METHODS)}, or a table")
    options = {"name": value} if isinstance(value, str) else dict(value)
    name = options.pop("name", None)
    if name not in METHODS:
        problem = "missing key" if name is None else f"unknown name {shown(name)}"
        raise InputError("name" if isinstance(value, Mapping) else "", problem, suggestion(str(name), METHODS))
    return build(METHODS[name], options, "")  # type: ignore[type-var]


def name_of(method: Method) -> str:
    """Return the name of a method."""
    return next(name for name, kind in METHODS.items() if type(method) is kind)


def _table(method: Method) -> dict[str, Any]:
    assert isinstance(method, Config)
    return {"name": name_of(method), **method.to_table()}


Choice = Annotated[
    Any,
    pydantic.BeforeValidator(_method),
    pydantic.PlainSerializer(_table),
    pydantic.WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(METHODS)},
                {"type": "object", "properties": {"name": {"enum": list(METHODS)}}, "required": ["name"]},
            ]
        }
    ),
]
"""A method of reconstruction: its name, or a table of its name and its options."""


@dataclass(frozen=True)
class Assumptions:
    """What a reconstruction takes for granted.

    Attributes:
        scale: fine sites per coarse pixel along each axis.
        degradation: the degradation.
        hamiltonian: the Hamiltonian, if it is known.
    """

    scale: int
    degradation: Degradation
    hamiltonian: Hamiltonian | None


def learned_spectrum(method: Method, coarse_NYXC: npt.ArrayLike, assumptions: Assumptions) -> Spectrum | None:
    """Return the spectrum that "wiener-em" learns from coarse fields, (Y, X, 3, 3); None if the method uses none.

    Args:
        method: the method, or one that starts from "wiener-em".
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        assumptions: the scale and the degradation.
    """
    learner = method if isinstance(method, WienerEM) else WienerEM()
    if learner is not method and getattr(method, "start", None) != "wiener-em":
        return None
    coarse_NCYX = np.moveaxis(np.asarray(coarse_NYXC, np.float32), -1, 1)
    rows, columns = (assumptions.scale * pixels for pixels in coarse_NCYX.shape[2:])
    operator = Operator(assumptions.degradation, (rows, columns), assumptions.scale)
    return learner.spectrum(Problem(np.ascontiguousarray(coarse_NCYX), operator))


def reconstructed(
    method: Method,
    coarse_NYXC: npt.ArrayLike,
    assumptions: Assumptions,
    spectrum: Spectrum | None = None,
    network: Any = None,
) -> Reconstruction:
    """Reconstruct fields by a method, with a spectrum that was learned before.

    With a spectrum, the result for a field does not depend on the others of the call.

    Args:
        method: the method.
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        assumptions: what the method takes for granted.
        spectrum: the spectrum of fine fields, if the method or its start uses one.
        network: the network, if the method uses one.

    Raises:
        InputError: the coarse spins or the assumptions are invalid for the method.
    """
    degradation, hamiltonian = assumptions.degradation, assumptions.hamiltonian
    known: dict[str, Any] = {"degradation": degradation, "hamiltonian": hamiltonian}
    if network is not None:
        known["network"] = network
    if spectrum is None:
        return reconstruct(coarse_NYXC, assumptions.scale, method, **known)
    filtered = reconstruct(coarse_NYXC, assumptions.scale, Wiener(), spectrum=spectrum, **known)
    if isinstance(method, Wiener | WienerEM):
        return filtered
    return reconstruct(coarse_NYXC, assumptions.scale, method, start=filtered.spins, **known)
