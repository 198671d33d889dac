"""Networks whose weights are part of the package, each with a card beside its weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from rayspin.config import suggestion
from rayspin.errors import InputError, shown
from rayspin.models.field import FieldNet
from rayspin.models.fine import FineNet
from rayspin.models.weights import Network, load_weights

FOLDER = Path(__file__).parent / "pretrained"
"""The folder of the weight files (`NAME.safetensors`) and cards (`NAME.md`: data, seeds, metrics, license)."""


@overload
def pretrained(name: Literal["labyrinth-field"]) -> FieldNet: ...


@overload
def pretrained(
    name: Literal["labyrinth-x4", "labyrinth-x8", "domain-x4", "domain-x8", "domain-x16"],
) -> FineNet: ...


@overload
def pretrained(name: str) -> Network: ...


def pretrained(name: str) -> Network:
    """Load a network that is shipped with the package, in evaluation mode on the CPU.

    Args:
        name: "labyrinth-field", which estimates the deviation f = F - 4 J S of textures of exchange and interfacial DMI
            (J = 1, dmi 0.3), with or without an external field; "labyrinth-x4", "labyrinth-x8", "domain-x4",
            "domain-x8" or "domain-x16", which reconstruct fine spins and were trained on coarse ones alone.

    Raises:
        InputError: there is no network of this name.
    """
    return load_weights(pretrained_file(name))


def pretrained_file(name: str) -> Path:
    """Return the weight file of a network that is shipped with the package.

    Raises:
        InputError: there is no network of this name.
    """
    names = pretrained_names()
    if name not in names:
        raise InputError("pretrained", f"{shown(name)} is not a network of this package", suggestion(str(name), names))
    return FOLDER / f"{name}.safetensors"


def pretrained_names() -> list[str]:
    """Return the names of the networks that are shipped with the package, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))
