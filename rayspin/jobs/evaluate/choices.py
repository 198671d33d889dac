"""Methods and networks of an evaluation of super-resolution, as they are named in job files."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic

from rayspin.errors import InputError
from rayspin.jobs.methods import LabelledChoice, by_name
from rayspin.models.fine import Scale
from rayspin.reconstruction import NETWORK


class ScaledChoice(LabelledChoice):
    """A method of reconstruction with its options, at some scales.

    "map" is given the Hamiltonian of the dataset, and "wiener" the spectrum of its split "train"; "wiener-em" learns
    from the fields of a share.
    """

    scales: tuple[Scale, ...] = pydantic.Field(default=(), exclude_if=lambda scales: not scales)
    """Scales at which the method is used; default: all."""

    @pydantic.model_validator(mode="after")
    def _without_network(self) -> Self:
        if self.method == NETWORK:
            raise InputError("method", f"{NETWORK!r} can't be used here", "name the network in networks")
        return self


Choices = tuple[
    Annotated[ScaledChoice, pydantic.BeforeValidator(by_name, json_schema_input_type=str | ScaledChoice)], ...
]
"""Methods, each as its name or as a table."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Networks = dict[
    str,
    Annotated[tuple[str, ...], pydantic.BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])],
]
"""References to weights by the name of the network in tables; several weights are of networks of different scales."""
