"""Methods of reconstruction in job files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic

from rayspin.config import Config, suggestion
from rayspin.errors import InputError, shown
from rayspin.reconstruction import METHODS, NETWORK, Method, method_of

NAMES = (*METHODS, NETWORK)


@dataclass(frozen=True)
class Chosen:
    """A method of reconstruction with its name.

    Attributes:
        name: the name.
        method: the method with its options; "network" stands for itself, because it needs a network.
    """

    name: str
    method: str | Method

    @classmethod
    def of(cls, value: Any) -> Chosen:
        """Return the method of a name, or of a table of its name and its options.

        Raises:
            InputError: the name is unknown, or an option is invalid.
        """
        if isinstance(value, Chosen):
            return value
        if not isinstance(value, str | Mapping):
            raise InputError("", f"{shown(value)} is not a method", f"give one of {', '.join(NAMES)}, or a table")
        options = {"name": value} if isinstance(value, str) else dict(value)
        name = options.pop("name", None)
        if name not in NAMES:
            problem = "missing key" if name is None else f"unknown name {shown(name)}"
            raise InputError("name" if isinstance(value, Mapping) else "", problem, suggestion(str(name), NAMES))
        if name == NETWORK:
            if options:
                raise InputError(next(iter(options)), "unknown key", "the method has no options")
            return cls(name, NETWORK)
        return cls(name, method_of(name, options, ""))

    def table(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": self.name, **(self.method.to_table() if isinstance(self.method, Config) else {})}


_TABLE = {"type": "object", "properties": {"name": {"enum": list(NAMES)}}, "required": ["name"]}

Choice = Annotated[
    Any,
    pydantic.BeforeValidator(Chosen.of),
    pydantic.PlainSerializer(Chosen.table),
    pydantic.WithJsonSchema({"anyOf": [{"type": "string", "enum": list(NAMES)}, _TABLE]}),
]
"""The type of a key whose value is a name of a method, or a table of its name and its options; it becomes `Chosen`."""
