"""Random streams with addresses: a stage name and the integers (root seed, sample, ...) identify a stream.

The module holds no state. A stream is created from its address on each call, so a sample does not depend on the number
of workers, the shard size, the order of samples, or restarts. Addresses are hashed by NumPy's `SeedSequence`, whose
output is stable across NumPy versions and platforms.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError, shown

Seed: TypeAlias = int | Sequence[int]
"""The address of a stream: integers from 0 to 2^63 - 1, root seed first. A single integer n stands for (n,)."""


def seed_words(stage: str, address: Seed, count: int) -> npt.NDArray[np.uint32]:
    """Return `count` independent uint32 words from the stream of a stage and an address.

    Args:
        stage: purpose of the numbers, such as "anneal"; streams of different stages are independent.
        address: address of the stream, root seed first: (root_seed, sample, ...).
        count: number of words.

    Raises:
        InputError: the address is empty, out of range, or not made of integers.
    """
    return _sequence(stage, address).generate_state(count, np.uint32).astype(np.uint32, copy=False)


def generator(stage: str, address: Seed) -> np.random.Generator:
    """Return a NumPy generator for the stream of a stage and an address.

    Args:
        stage: as in `seed_words`.
        address: as in `seed_words`.

    Raises:
        InputError: as in `seed_words`.
    """
    return np.random.Generator(np.random.Philox(_sequence(stage, address)))


def address_of(seed: Seed) -> tuple[int, ...]:
    """Return the address that a seed stands for, as a tuple of integers.

    Raises:
        InputError: the seed is empty, out of range, or not made of integers.
    """
    plain = seed.tolist() if isinstance(seed, np.ndarray | np.generic) else seed
    parts = [plain] if isinstance(plain, int) else plain
    if not isinstance(parts, Sequence) or not parts or not all(map(_is_part, parts)):
        remedy = "give integers from 0 to 2^63 - 1, such as (root_seed, sample)"
        raise InputError("seed", f"{shown(seed)} is not a valid address", remedy)
    return tuple(map(int, parts))


def _sequence(stage: str, address: Seed) -> np.random.SeedSequence:
    root, *rest = address_of(address)
    return np.random.SeedSequence(root, spawn_key=(zlib.crc32(stage.encode()), *rest))


def _is_part(part: object) -> bool:
    """Return whether a value can be part of an address. Datasets store addresses as 64-bit integers."""
    return isinstance(part, int | np.integer) and not isinstance(part, bool) and 0 <= int(part) < 2**63
