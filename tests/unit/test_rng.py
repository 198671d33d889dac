"""Addressed random streams: relation to NumPy's seed sequences, and independence."""

from __future__ import annotations

import zlib

import numpy as np

from rayspin.rng import generator, seed_words


def test_stream_is_a_numpy_seed_sequence_with_stage_and_address_as_key() -> None:
    words = np.random.SeedSequence(5, spawn_key=(zlib.crc32(b"anneal"), 3, 4)).generate_state(8)
    np.testing.assert_array_equal(seed_words("anneal", (5, 3, 4), 8), words)


def test_streams_of_different_stages_roots_and_samples_are_uncorrelated() -> None:
    addresses = [
        (stage, (root, *rest)) for stage in ("anneal", "noise") for root in (0, 1) for rest in ((), (0,), (1,))
    ]
    draws = np.stack([generator(stage, address).standard_normal(100_000) for stage, address in addresses])
    correlations = np.corrcoef(draws) - np.eye(len(addresses))
    # The 66 correlations have standard deviation 1 / sqrt(100,000). One of them exceeds five standard deviations in
    # fewer than one of ten thousand cases.
    assert np.abs(correlations).max() < 5 / np.sqrt(100_000)
