"""The architectures of networks, as the key `architecture` of a table selects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError, shown
from rayspin.models.fcn import EffectiveFieldNetConfig
from rayspin.models.field import FieldNetConfig
from rayspin.models.field_unet import FieldUNetConfig
from rayspin.models.fine import FineNetConfig
from rayspin.models.sr import SuperResolutionNetConfig
from rayspin.models.sr_unet import SuperResolutionUNetConfig

FIELD_ARCHITECTURES: dict[str, type[Config]] = {
    "encoder-decoder": EffectiveFieldNetConfig,
    "u-net": FieldUNetConfig,
}
"""The config class of each architecture of networks that estimate effective fields; the first is the default."""

FINE_ARCHITECTURES: dict[str, type[Config]] = {
    "expanding": SuperResolutionNetConfig,
    "u-net": SuperResolutionUNetConfig,
}
"""The config class of each architecture of networks that reconstruct fine spins; the first is the default."""


def field_network(table: Any) -> Any:
    """The config of a network for fields that a table describes; without `architecture` it is the published network.

    Args:
        table: keys and values, or a config, which is returned as it is.

    Raises:
        InputError: this is neither, the architecture is unknown, or a key or a value is invalid.
    """
    return _selected(table, FieldNetConfig, FIELD_ARCHITECTURES)


def fine_network(table: Any) -> Any:
    """The config of a network for fine spins that a table describes; see `field_network`."""
    return _selected(table, FineNetConfig, FINE_ARCHITECTURES)


def _selected(table: Any, base: type[Config], architectures: Mapping[str, type[Config]]) -> Any:
    if isinstance(table, base):
        return table
    if not isinstance(table, Mapping):
        raise InputError("", f"{shown(table)} is not a network", "write a table")
    architecture = table.get("architecture", next(iter(architectures)))
    if not isinstance(architecture, str) or architecture not in architectures:
        problem = f"unknown value {architecture!r}"
        raise InputError("architecture", problem, suggestion(str(architecture), architectures))
    return build(architectures[architecture], table, "")


FieldNetworkConfig = Annotated[
    EffectiveFieldNetConfig | FieldUNetConfig,
    BeforeValidator(field_network, json_schema_input_type=EffectiveFieldNetConfig | FieldUNetConfig),
]
"""A config of either architecture for fields, as the type of a key of a job."""

FineNetworkConfig = Annotated[
    SuperResolutionNetConfig | SuperResolutionUNetConfig,
    BeforeValidator(fine_network, json_schema_input_type=SuperResolutionNetConfig | SuperResolutionUNetConfig),
]
"""A config of either architecture for fine spins, as the type of a key of a job."""
