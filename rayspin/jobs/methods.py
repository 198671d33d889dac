"""Methods of reconstruction in job files: a name, or a table with the name and options."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic

from rayspin.config import Config, suggestion
from rayspin.errors import InputError
from rayspin.reconstruction import METHODS, NETWORK, Method, method_of


class Choice(Config):
    """A method of reconstruction with its options."""

    method: str
    """Name of the method, as in `rayspin.reconstruction.reconstruct`."""
    options: dict[str, Any] = pydantic.Field(default={}, exclude_if=lambda options: not options)
    """Options of the method, such as { iterations = 400 } of "projections"."""

    @pydantic.model_validator(mode="after")
    def _known(self) -> Self:
        names = (*METHODS, NETWORK)
        if self.method not in names:
            raise InputError("method", f"unknown method {self.method!r}", suggestion(self.method, names))
        if self.method == NETWORK and self.options:
            raise InputError("options", f"the method {NETWORK!r} has none", "remove them")
        self.build()
        return self

    def build(self) -> str | Method:
        """Return the method with its options; "network" stands for itself, because it needs a network."""
        return NETWORK if self.method == NETWORK else method_of(self.method, self.options, "options")


class LabelledChoice(Choice):
    """A method of reconstruction with its options and its name in tables."""

    label: str = pydantic.Field(default="", exclude_if=lambda label: not label)
    """Name of the method in tables; default: that of the method."""

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.label or self.method


def by_name(value: Any) -> Any:
    """Return the table of a method that is given by its name alone; other values are returned as they are."""
    return {"method": value} if isinstance(value, str) else value


NamedChoice = Annotated[Choice, pydantic.BeforeValidator(by_name, json_schema_input_type=str | Choice)]
"""A method, as its name or as a table."""

LabelledChoices = tuple[
    Annotated[LabelledChoice, pydantic.BeforeValidator(by_name, json_schema_input_type=str | LabelledChoice)], ...
]
"""Methods, each as its name or as a table."""
