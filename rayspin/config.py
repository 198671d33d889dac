"""Strict, immutable configuration objects, built from the tables of a TOML file.

Every object that a job file describes (a Hamiltonian, a schedule, a training) is a `Config`, which checks its values
when it is created. `build` creates one from nested tables. Invalid input raises an `InputError` that names the file,
the dotted key, the value, and what is allowed; for an unknown key it suggests the most similar known one.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from rayspin.errors import InputError, shown
from rayspin.inputs import MAX_DEPTH


class Config(pydantic.BaseModel):
    """Base class of all configuration objects: immutable, strictly typed, without unknown keys.

    Lists are converted to tuples, NumPy arrays and scalars to Python numbers, and paths to strings.

    Raises:
        InputError: a key or value is invalid.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            raise _first_error(type(self), error, "") from None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _plain_values(cls, data: Any) -> Any:
        """Convert lists, which TOML and JSON yield, to tuples, so that a config is hashable and immutable."""
        return _plain(data)

    @classmethod
    def from_argument(cls, value: Any, where: str) -> Self:
        """Return the config given by an argument.

        Args:
            value: a config, a table of its fields, or the name of a preset.
            where: name of the argument, for error messages.

        Raises:
            InputError: the value is none of these, or is invalid.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, str | Mapping):
            remedy = f"give a {cls.__name__}, a table of its fields, or the name of a preset if it has any"
            raise InputError(where, f"{shown(value)} is not a {cls.__name__}", remedy)
        return build(cls, value, where)

    def to_table(self) -> dict[str, Any]:
        """Return the config as nested tables for TOML or JSON, without the keys whose value is None."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_updates(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced, checked again.

        Raises:
            InputError: a changed field is invalid.
        """
        return build(type(self), dict(self) | changes, "")


_LONGEST_NAME = 60
_NAME = re.compile(rf"\w(?:[\w.-]{{0,{_LONGEST_NAME - 2}}}[\w-])?")

RESERVED = frozenset({"job.toml", "summary.json", "submissions", "submission.json", "events.jsonl"})
"""Names of files and folders that rayspin writes to the folder of a run."""


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        remedy = f"use up to {_LONGEST_NAME} letters, digits, '_', and '-' or '.' (not first; '.' not last)"
        raise InputError("", f"{name!r} is not a valid name", remedy)
    if name.casefold() in RESERVED:
        raise InputError("", f"the name {name!r} is reserved for a file of the run", "use another name")
    return name


Name = Annotated[
    str,
    pydantic.AfterValidator(_check_name),
    pydantic.WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
"""Name of a stage or a dataset, which is also the name of its folder inside the folder of the run."""


ConfigT = TypeVar("ConfigT", bound=Config)


def build(config_type: type[ConfigT], table: Mapping[str, Any] | str, where: str) -> ConfigT:
    """Build a config from a table.

    Args:
        config_type: class of the config.
        table: nested tables, as read from TOML, or the name of a preset if the config has any.
        where: prefix of error messages: the path of the file, or the path and the key of the table in it. If empty,
            errors name the key alone.

    Raises:
        InputError: a key or value is invalid; the first error is reported.
    """
    try:
        return config_type.model_validate(table if isinstance(table, str) else dict(table))
    except pydantic.ValidationError as error:
        raise _first_error(config_type, error, where) from None
    except RecursionError:
        raise InputError(where, "lists or tables are nested too deeply", "use fewer levels") from None


def replace_key(table: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the value of a dotted key in nested tables.

    Args:
        table: the tables, changed in place. Missing tables on the path are created.
        key: the dotted key. A number is an index into a list, counted from 0. A part in quotes may contain dots, as in
            TOML: `space."network.scale"`.
        value: the new value.
        where: the setting as the user wrote it, for error messages.

    Raises:
        InputError: the key is malformed, or leads through a value that is not a table or list.
    """
    parts = re.findall(r'"[^"]+"|[^."]+', key)
    if not 0 < len(parts) <= MAX_DEPTH or ".".join(parts) != key:
        raise InputError(where, f"{shown(key)} is not a valid key", f"write table.key, with at most {MAX_DEPTH} parts")
    *path, last = (part.strip('"') for part in parts)
    inner: Any = table
    for depth, part in enumerate([*path, last]):
        name = ".".join(path[:depth])
        if isinstance(inner, list):
            if not part.isdigit() or int(part) >= len(inner):
                raise InputError(where, f"{name} has no item {part!r}", f"give a number from 0 to {len(inner) - 1}")
        elif not isinstance(inner, dict):
            raise InputError(where, f"{name} is not a table", f"set {name} itself, as in {name}={{ {part} = ... }}")
        if depth < len(path):
            inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
        else:
            inner[int(part) if isinstance(inner, list) else part] = value


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: "did you mean 'x'?", or all known names if none is similar."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(names)


def _plain(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return tuple(_plain(item) for item in data)
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    # NumPy arrays and scalars, and objects with the same method.
    plain = data.tolist() if hasattr(data, "tolist") and not isinstance(data, type) else data
    return plain if type(plain) is type(data) else _plain(plain)


_REMEDIES = {
    "float_type": "write a number",
    "int_type": "write a whole number",
    "string_type": 'write a string in quotes ("...")',
    "bool_type": "write true or false",
    "tuple_type": "write a list: [ ... ]",
    "dict_type": "write a table",
    "model_type": "write a table",
}


def _first_error(config_type: type[Config], error: pydantic.ValidationError, where: str) -> InputError:
    """Return the first error. Unknown keys come first, because a misspelled key is also reported as missing."""
    details = error.errors(include_url=False)
    return _input_error(config_type, min(details, key=lambda detail: detail["type"] != "extra_forbidden"), where)


def _input_error(config_type: type[Config], detail: ErrorDetails, where: str) -> InputError:
    # Pydantic appends "[key]" to the location if the key itself is invalid.
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    place = _place(where, path)
    if detail["type"] == "extra_forbidden":
        return InputError(place, "unknown key", suggestion(path[-1], _known_keys(config_type, path[:-1])))
    context = detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InputError):
        # The error comes from a config's own check and already has a problem and a remedy.
        return InputError(_place(where, (*path, *filter(None, [cause.where]))), cause.problem, cause.remedy)
    problem = detail["msg"][:1].lower() + detail["msg"][1:]
    if detail["type"] == "missing":
        return InputError(place, "missing key", "add it")
    value = detail["input"]
    if detail["type"] == "literal_error" and isinstance(value, str):
        allowed = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        return InputError(place, f"unknown value {value!r}", suggestion(value, allowed))
    return InputError(place, f"{shown(value)} is invalid", _REMEDIES.get(detail["type"], problem))


def _place(where: str, path: Sequence[str]) -> str:
    return ": ".join(part for part in (where, ".".join(path)) if part)


def _known_keys(config_type: type[Config], path: Sequence[str]) -> list[str]:
    """Return the keys of the table at `path` inside a config of this type, for suggestions."""
    types_here = [config_type]
    for part in path:
        below = [
            inner for t in types_here if part in t.model_fields for inner in _configs(t.model_fields[part].annotation)
        ]
        # A part that is not a field is an index into a list or the tag of a union, so the types stay the same.
        types_here = below or types_here
    return [name for t in types_here for name in t.model_fields]


def _configs(annotation: Any) -> list[type[Config]]:
    """Return the config types in an annotation: Config, Config | None, tuple[Config, ...], dict[str, Config]."""
    if inspect.isclass(annotation) and issubclass(annotation, Config):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _configs(argument)]
