"""Randomness by address: (root seed, stage, sample, ...) names a stream, whoever draws from it and in whatever order.

Nothing here holds state. A stream is made afresh from its address, so a sample is the same for every worker count,
shard size, order and restart. Addresses go through numpy's `SeedSequence`, whose output numpy keeps stable between
versions and platforms.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError, shown

Seed: TypeAlias = int | Sequence[int]
"""The address of a stream: integers from 0 to 2^63 - 1, the root seed first; a number n is the address (n,)."""


def seed_words(stage: str, address: Seed, count: int) -> npt.NDArray[np.uint32]:
    """`count` independent uint32 words of the stream that (stage, address) names.

    Args:
        stage: what the numbers are for ("anneal", "noise"); streams of different stages are independent.
        address: the root seed first: (root_seed, sample, ...).
        count: how many words.

    Raises:
        InputError: an address that is empty, out of range or not made of integers.
    """
    return _sequence(stage, address).generate_state(count, np.uint32).astype(np.uint32, copy=False)


def generator(stage: str, address: Seed) -> np.random.Generator:
    """A numpy generator on the stream that (stage, address) names; arguments as in `seed_words`."""
    return np.random.Generator(np.random.Philox(_sequence(stage, address)))


def address_of(seed: Seed) -> tuple[int, ...]:
    """The address that a seed is, number by number.

    Raises:
        InputError: it is empty, out of range or not made of integers.
    """
    plain = seed.tolist() if isinstance(seed, np.ndarray | np.generic) else seed
    parts = [plain] if isinstance(plain, int) else plain
    if not isinstance(parts, Sequence) or not parts or not all(map(_is_part, parts)):
        remedy = "give integers from 0 to 2^63 - 1: (root_seed, sample)"
        raise InputError("seed", f"{shown(seed)} is no address", remedy)
    return tuple(map(int, parts))


def _sequence(stage: str, address: Seed) -> np.random.SeedSequence:
    root, *rest = address_of(address)
    return np.random.SeedSequence(root, spawn_key=(zlib.crc32(stage.encode()), *rest))


def _is_part(part: object) -> bool:
    """Whether an address may hold it. Datasets store addresses as 64-bit integers."""
    return isinstance(part, int | np.integer) and not isinstance(part, bool) and 0 <= int(part) < 2**63
