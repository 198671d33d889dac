"""Amount of repetition in tests, set by RAYSPIN_SOAK: 0 (default) for fewer cases, 1 for all cases, n for n rounds."""

from __future__ import annotations

import os

_SOAK = int(os.environ.get("RAYSPIN_SOAK", "0"))

FULL = _SOAK > 0
"""Whether all cases are tested: each system call instead of every fifth one, and each pair of job and option."""

ROUNDS = max(1, _SOAK)
"""Number of rounds of the seeded tests, each with different random numbers."""
