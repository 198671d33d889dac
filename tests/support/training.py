"""A small sample source of smooth random spins in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from rayspin.physics import LABYRINTH, Hamiltonian


@dataclass(frozen=True)
class MemorySource:
    """Spins in memory, as a `SampleSource`."""

    spins_NYXC: np.ndarray
    samples: np.ndarray
    hamiltonian: Hamiltonian = LABYRINTH

    @property
    def shape(self):
        return self.spins_NYXC.shape[1:3]

    @property
    def digest(self):
        return hashlib.sha256(self.spins_NYXC.tobytes()).hexdigest()

    def __len__(self):
        return len(self.spins_NYXC)

    def read(self, positions):
        return self.spins_NYXC[positions]


def smooth_spins(samples: int, seed: int, size: int = 32) -> np.ndarray:
    """Return unit spins (samples, size, size, 3) that vary over about four sites."""
    waves = np.fft.fftfreq(size)
    low_pass = np.exp(-60 * (waves[:, None] ** 2 + waves**2))
    noise = np.random.default_rng(seed).normal(size=(samples, size, size, 3))
    spectrum = np.fft.fft2(noise, axes=(1, 2)) * low_pass[..., None]
    vectors = np.fft.ifft2(spectrum, axes=(1, 2)).real
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def memory_source(samples: int, seed: int, **changes) -> MemorySource:
    """Return a source of smooth spins whose sample numbers start at 100."""
    return MemorySource(smooth_spins(samples, seed), np.arange(100, 100 + samples), **changes)
