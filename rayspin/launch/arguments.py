"""Command line options made from the fields of a config, so that each option is declared once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import click

from rayspin.config import Config
from rayspin.errors import InputError


def options_of(config_type: type[Config]) -> list[click.Option]:
    """Return one command line option for each field of a config; its help text is the docstring of the field.

    A list or table field becomes an option that may be repeated, with one item or KEY=VALUE each. An option that is not
    given has the value None, or () if it may be repeated.

    Args:
        config_type: class of the config. Its own fields come before those of its base classes.
    """
    own = inspect.get_annotations(config_type)
    fields = config_type.model_fields
    names = sorted(fields, key=lambda name: name not in own)
    return [_option(name, fields[name].annotation, fields[name].description or "") for name in names]


def given_options(values: Mapping[str, Any], config_type: type[Config]) -> dict[str, Any]:
    """Return the fields of a config that were given on the command line.

    Args:
        values: parsed values by the names of the fields.
        config_type: class of the config.

    Raises:
        InputError: an item of a table is not of the form KEY=VALUE.
    """
    given = {name: value for name, value in values.items() if value is not None and value != ()}
    for name in given:
        if _plain_type(config_type.model_fields[name].annotation) is dict:
            given[name] = dict(_pair(name, item) for item in given[name])
    return given


def _option(name: str, annotation: Any, text: str) -> click.Option:
    flag = "--" + name.replace("_", "-")
    text = " ".join(text.split())
    kind = _plain_type(annotation)
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    if typing.get_origin(annotation) is Literal:
        return click.Option([flag], type=click.Choice(typing.get_args(annotation)), help=text)
    if kind in (tuple, dict):
        metavar = "KEY=VALUE" if kind is dict else "TEXT"
        return click.Option([flag], multiple=True, metavar=metavar, help=f"{text} May be repeated.")
    return click.Option([flag], type=kind, metavar="N" if kind is int else "TEXT", help=text)


def _plain_type(annotation: Any) -> Any:
    """The type of an annotation without its alternative None and its parameters."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (other for other in typing.get_args(annotation) if other is not types.NoneType)
    return typing.get_origin(annotation) or annotation


def _pair(name: str, item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not key or not equals:
        raise InputError(f"--{name.replace('_', '-')} {item}", "is not KEY=VALUE", "write KEY=VALUE")
    return key, value
