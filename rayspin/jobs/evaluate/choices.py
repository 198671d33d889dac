"""Methods and networks of an evaluation of super-resolution, as they are named in job files."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic

from rayspin.config import Config, suggestion
from rayspin.errors import InputError
from rayspin.models.fine import Scale
from rayspin.physics import Degradation
from rayspin.reconstruction import METHODS, Method, method_of
from rayspin.reconstruction.interpolation import baselines

INTERPOLATIONS = tuple(baselines(Degradation()))
"""Names of the interpolations; their output is not normalized."""


class Choice(Config):
    """A method of reconstruction with its options."""

    method: str
    """Name of the method: an interpolation, or a method of `rayspin.reconstruction`. "map" is given the Hamiltonian of
    the dataset, and "wiener" the spectrum of its split "train"; "wiener-em" learns from the fields of a share."""
    label: str = pydantic.Field(default="", exclude_if=lambda label: not label)
    """Name of the method in tables; default: that of the method."""
    scales: tuple[Scale, ...] = pydantic.Field(default=(), exclude_if=lambda scales: not scales)
    """Scales at which the method is used; default: all."""
    options: dict[str, Any] = pydantic.Field(default={}, exclude_if=lambda options: not options)
    """Options of the method, such as { iterations = 400 } of "projections"."""

    @pydantic.model_validator(mode="after")
    def _known(self) -> Self:
        if self.method not in METHODS:
            raise InputError("method", f"unknown method {self.method!r}", suggestion(self.method, METHODS))
        self.build()
        return self

    def build(self) -> Method:
        """Return the method of `rayspin.reconstruction` with its options."""
        return method_of(self.method, self.options, "options")


def _choice(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Choices = tuple[Annotated[Choice, pydantic.BeforeValidator(_choice, json_schema_input_type=str | Choice)], ...]
"""Methods, each as its name or as a table."""

Networks = dict[
    str,
    Annotated[tuple[str, ...], pydantic.BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])],
]
"""References to weights by the name of the network in tables; several weights are of networks of different scales."""
