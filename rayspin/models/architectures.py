"""The architectures of networks that estimate effective fields, as the key `architecture` of a table selects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from rayspin.config import build, suggestion
from rayspin.errors import InputError, shown
from rayspin.models.fcn import EffectiveFieldNetConfig
from rayspin.models.field import FieldNetConfig
from rayspin.models.field_unet import FieldUNetConfig

ARCHITECTURES: dict[Any, type[EffectiveFieldNetConfig | FieldUNetConfig]] = {
    "encoder-decoder": EffectiveFieldNetConfig,
    "u-net": FieldUNetConfig,
}
"""The config class of each architecture."""


def field_network(table: Any) -> Any:
    """The config that a table describes; a table without the key `architecture` is of the published network.

    Args:
        table: keys and values, or a config, which is returned as it is.

    Raises:
        InputError: this is neither, the architecture is unknown, or a key or a value is invalid.
    """
    if isinstance(table, FieldNetConfig):
        return table
    if not isinstance(table, Mapping):
        raise InputError("", f"{shown(table)} is not a network", "write a table")
    architecture = table.get("architecture", "encoder-decoder")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        problem = f"unknown value {architecture!r}"
        raise InputError("architecture", problem, suggestion(str(architecture), ARCHITECTURES))
    return build(ARCHITECTURES[architecture], table, "")


FieldNetworkConfig = Annotated[
    EffectiveFieldNetConfig | FieldUNetConfig,
    BeforeValidator(field_network, json_schema_input_type=EffectiveFieldNetConfig | FieldUNetConfig),
]
"""A config of either architecture, as the type of a key of a job."""
