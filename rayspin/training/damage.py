"""Altered training samples: uniform states, and damaged inputs whose target is the field of the undamaged spins.

Random numbers are addressed by (seed, epoch, sample) and drawn by NumPy, so that they are the same for every number of
ranks and on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from rayspin.config import Config
from rayspin.rng import generator
from rayspin.training.data import Batch

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction of the samples."""

STRONGEST_NOISE = 3.0
"""Largest amplitude alpha of the noise."""
NARROWEST, WIDEST_ROWS, WIDEST_SQUARE = 4, 63, 64
"""Smallest and largest widths of damaged regions, sites; on small lattices at most half of the side."""


class Damage(Config):
    """The share of the training samples that is damaged in each way; new damage is drawn in every epoch."""

    noise: Share = 0.0
    """S' = (S + alpha R) / |S + alpha R| with random unit vectors R and alpha uniform in [0, 3]."""
    rows: Share = 0.0
    """4 to 63 adjacent rows, or as often columns, are replaced by random spins; at most half of the side."""
    square: Share = 0.0
    """A box with sides of 4 to 64 sites is replaced by random spins; at most half of the side."""
    one_component: Share = 0.0
    """Only S_z is kept; the other components are 0."""


def altered(batch: Batch, shares: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Alter a random part of a batch.

    Args:
        batch: the batch; it is not changed.
        shares: the share of each kind of alteration: "uniform", and the fields of `Damage`.

    Returns:
        the undamaged spins, some of them replaced by uniform states, and the input of the network, both (N, 3, Y, X).
    """
    if not any(shares.values()):
        return batch.spins_NCYX, batch.spins_NCYX
    kinds, bounds = list(shares), np.cumsum(list(shares.values()))
    clean_NCYX, given_NCYX = batch.spins_NCYX.clone(), batch.spins_NCYX.clone()
    for index, address in enumerate(batch.addresses):
        stream = generator("altered", address)
        kind = int(np.searchsorted(bounds, stream.random(), side="right"))
        if kind == len(kinds):
            continue
        given_NCYX[index] = _KINDS[kinds[kind]](clean_NCYX[index], stream)
        if kinds[kind] == "uniform":
            clean_NCYX[index] = given_NCYX[index]
    return clean_NCYX, given_NCYX


def _uniform(spins_CYX: Tensor, stream: np.random.Generator) -> Tensor:
    return _directions((1, 1), stream).to(spins_CYX.device).expand_as(spins_CYX)


def _noisy(spins_CYX: Tensor, stream: np.random.Generator) -> Tensor:
    amplitude = stream.uniform(0, STRONGEST_NOISE)
    noise_CYX = _directions((spins_CYX.shape[1], spins_CYX.shape[2]), stream).to(spins_CYX.device)
    return normalize(spins_CYX + amplitude * noise_CYX, dim=0)


def _rows(spins_CYX: Tensor, stream: np.random.Generator) -> Tensor:
    lattice = (spins_CYX.shape[1], spins_CYX.shape[2])
    axis = int(stream.integers(2))
    sides = list(lattice)
    sides[axis] = _width(lattice[axis], WIDEST_ROWS, stream)
    return _replaced(spins_CYX, (sides[0], sides[1]), stream)


def _square(spins_CYX: Tensor, stream: np.random.Generator) -> Tensor:
    rows, columns = (_width(side, WIDEST_SQUARE, stream) for side in spins_CYX.shape[1:])
    return _replaced(spins_CYX, (rows, columns), stream)


def _one_component(spins_CYX: Tensor, stream: np.random.Generator) -> Tensor:  # noqa: ARG001
    only = spins_CYX.clone()
    only[:2] = 0
    return only


_KINDS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "uniform": _uniform,
    "noise": _noisy,
    "rows": _rows,
    "square": _square,
    "one_component": _one_component,
}


def _width(side: int, widest: int, stream: np.random.Generator) -> int:
    """A random width of a damaged region along an axis with `side` sites."""
    widest = max(1, min(widest, side // 2))
    return int(stream.integers(min(NARROWEST, widest), widest + 1))


def _replaced(spins_CYX: Tensor, sides: tuple[int, int], stream: np.random.Generator) -> Tensor:
    """The spins with random ones in a box at a random place; the box may cross the periodic edges."""
    rows, columns = (
        torch.from_numpy((int(stream.integers(length)) + np.arange(side)) % length).to(spins_CYX.device)
        for length, side in zip(spins_CYX.shape[1:], sides)
    )
    damaged = spins_CYX.clone()
    damaged[:, rows[:, None], columns[None]] = _directions(sides, stream).to(spins_CYX.device)
    return damaged


def _directions(shape: tuple[int, int], stream: np.random.Generator) -> Tensor:
    """Random unit vectors, uniform on the sphere, (3, *shape), on the CPU."""
    return normalize(torch.from_numpy(stream.standard_normal((3, *shape), np.float32)), dim=0)
