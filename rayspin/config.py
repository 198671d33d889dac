"""Strict, frozen configuration from plain tables; errors name the dotted key and the nearest known one.

Every object a job file describes (a Hamiltonian, a schedule, a training) is a `Config` that lives beside its owner
and checks itself when it is made. `build` turns the tables of a TOML file into one; whatever is wrong comes out as
one `InputError` that names the file, the key, the value and what is allowed.
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
    """Base of everything that a job file describes: frozen, strict in types, no unknown keys.

    Lists are taken as tuples, arrays and scalars of numpy as the numbers in them, paths as texts.
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
        """TOML and JSON know lists only; fields are tuples, so that a config is hashable and can't change."""
        return _plain(data)

    @classmethod
    def from_argument(cls, value: Any, where: str) -> Self:
        """The config that an argument means: one that is made already, a table of its fields, or a preset's name.

        Args:
            value: the argument.
            where: its name.

        Raises:
            InputError: it is none of these, or there is something wrong with it.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, str | Mapping):
            remedy = f"give a {cls.__name__}, or what a job file has in its place"
            raise InputError(where, f"{shown(value)} is no {cls.__name__}", remedy)
        return build(cls, value, where)

    def to_table(self) -> dict[str, Any]:
        """The config as plain tables that TOML and JSON can hold; keys that are unset (None) are left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_updates(self, **changes: Any) -> Self:
        """A checked copy with some fields replaced."""
        return build(type(self), dict(self) | changes, "")


_LONGEST_NAME = 60
_NAME = re.compile(rf"\w(?:[\w.-]{{0,{_LONGEST_NAME - 2}}}[\w-])?")

RESERVED = frozenset({"job.toml", "summary.json", "submissions", "submission.json", "events.jsonl"})
"""Files and folders that every run, or its submission, has for itself."""


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        remedy = f"take up to {_LONGEST_NAME} letters, digits, '_' and '-', or '.' inside"
        raise InputError("", f"{name!r} is no name", remedy)
    if name.casefold() in RESERVED:
        raise InputError("", f"the name {name!r} is taken by a file of the run", "take another name")
    return name


Name = Annotated[
    str,
    pydantic.AfterValidator(_check_name),
    pydantic.WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
"""The name of a stage or a dataset: of a folder inside the run's, and nowhere else."""


ConfigT = TypeVar("ConfigT", bound=Config)


def build(config_type: type[ConfigT], table: Mapping[str, Any] | str, where: str) -> ConfigT:
    """The config that `table` describes.

    Args:
        config_type: what to build.
        table: plain tables, as read from TOML; or the name of a preset, where the config has any.
        where: what the user calls the table: a file's path, or a path and the key of the table in it; empty for
            errors that name the key alone.

    Raises:
        InputError: the first thing wrong, with the dotted key, the value and the remedy.
    """
    try:
        return config_type.model_validate(table if isinstance(table, str) else dict(table))
    except pydantic.ValidationError as error:
        raise _first_error(config_type, error, where) from None
    except RecursionError:
        raise InputError(where, "has lists or tables nested by the hundred", "write a few levels") from None


def replace_key(table: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the dotted `key` in nested tables, making tables on the way; a number is a place in a list, from 0.

    A part in quotes may have dots of its own, as in TOML: `space."network.scale"`.

    Raises:
        InputError: the key leads through something that is no table; `where` is what the user calls the change.
    """
    parts = re.findall(r'"[^"]+"|[^."]+', key)
    if not 0 < len(parts) <= MAX_DEPTH or ".".join(parts) != key:
        raise InputError(where, f"{shown(key)} is no key", f"write table.key, with at most {MAX_DEPTH} parts")
    *path, last = (part.strip('"') for part in parts)
    inner: Any = table
    for depth, part in enumerate([*path, last]):
        name = ".".join(path[:depth])
        if isinstance(inner, list):
            if not part.isdigit() or int(part) >= len(inner):
                raise InputError(where, f"{name} has no place {part!r}", f"give a number from 0 to {len(inner) - 1}")
        elif not isinstance(inner, dict):
            raise InputError(where, f"{name} is no table", "set that key itself, or one inside a table")
        if depth < len(path):
            inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
        else:
            inner[int(part) if isinstance(inner, list) else part] = value


def suggestion(name: str, known: Iterable[str]) -> str:
    """What a user who wrote `name` may have meant: "did you mean 'x'?", or the known names where none is near."""
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
    # Arrays and scalars of numpy, and what is like them.
    plain = data.tolist() if hasattr(data, "tolist") and not isinstance(data, type) else data
    return plain if type(plain) is type(data) else _plain(plain)


_REMEDIES = {
    "missing": "add it",
    "float_type": "write a number",
    "int_type": "write a whole number",
    "string_type": 'write a text in quotes ("...")',
    "bool_type": "write true or false",
    "tuple_type": "write a list: [ ... ]",
    "dict_type": "write a table",
    "model_type": "write a table",
}


def _first_error(config_type: type[Config], error: pydantic.ValidationError, where: str) -> InputError:
    """The first thing wrong; an unknown key explains a missing one (a misspelling), so it is named first."""
    details = error.errors(include_url=False)
    return _input_error(config_type, min(details, key=lambda detail: detail["type"] != "extra_forbidden"), where)


def _input_error(config_type: type[Config], detail: ErrorDetails, where: str) -> InputError:
    # A key that is wrong itself has a mark behind it.
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    place = _place(where, path)
    if detail["type"] == "extra_forbidden":
        return InputError(place, "unknown key", suggestion(path[-1], _known_keys(config_type, path[:-1])))
    context = detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InputError):
        # A config's own check: it already says what is wrong and what mends it.
        return InputError(_place(where, (*path, *filter(None, [cause.where]))), cause.problem, cause.remedy)
    problem = detail["msg"][:1].lower() + detail["msg"][1:]
    if detail["type"] == "missing":
        return InputError(place, "missing key", _REMEDIES["missing"])
    value = detail["input"]
    if detail["type"] == "literal_error" and isinstance(value, str):
        allowed = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        return InputError(place, f"unknown value {value!r}", suggestion(value, allowed))
    return InputError(place, f"{shown(value)} won't do", _REMEDIES.get(detail["type"], problem))


def _place(where: str, path: Sequence[str]) -> str:
    return ": ".join(part for part in (where, ".".join(path)) if part)


def _known_keys(config_type: type[Config], path: Sequence[str]) -> list[str]:
    """The keys of the table at `path` inside a config of this type, for `did you mean`."""
    types_here = [config_type]
    for part in path:
        below = [
            inner for t in types_here if part in t.model_fields for inner in _configs(t.model_fields[part].annotation)
        ]
        # A part that is no field is an index into a list or the tag of a union: the types stay the same.
        types_here = below or types_here
    return [name for t in types_here for name in t.model_fields]


def _configs(annotation: Any) -> list[type[Config]]:
    """The config types that an annotation mentions: Config, Config | None, tuple[Config, ...], dict[str, Config]."""
    if inspect.isclass(annotation) and issubclass(annotation, Config):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _configs(argument)]
