"""Streams by address: what names them, and that no two of them are alike."""

from __future__ import annotations

import zlib

import numpy as np

from rayspin.rng import generator, seed_words


def test_a_stream_is_the_seed_sequence_of_numpy_with_the_stage_and_the_address_as_its_key() -> None:
    words = np.random.SeedSequence(5, spawn_key=(zlib.crc32(b"anneal"), 3, 4)).generate_state(8)
    np.testing.assert_array_equal(seed_words("anneal", (5, 3, 4), 8), words)


def test_streams_of_other_stages_roots_and_samples_are_uncorrelated() -> None:
    addresses = [
        (stage, (root, *rest)) for stage in ("anneal", "noise") for root in (0, 1) for rest in ((), (0,), (1,))
    ]
    draws = np.stack([generator(stage, address).standard_normal(100_000) for stage, address in addresses])
    correlations = np.corrcoef(draws) - np.eye(len(addresses))
    # Of 66 normal variables of deviation 1 / sqrt(100,000) one in ten thousand runs has one beyond five deviations.
    assert np.abs(correlations).max() < 5 / np.sqrt(100_000)
