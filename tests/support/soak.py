"""How much is repeated: RAYSPIN_SOAK=0 (the default) thins repetition, 1 leaves nothing out, n goes n times round."""

from __future__ import annotations

import os

_SOAK = int(os.environ.get("RAYSPIN_SOAK", "0"))

FULL = _SOAK > 0
"""Whether nothing is left out: each system call instead of every fifth one, each pair of job and option."""

ROUNDS = max(1, _SOAK)
"""How many rounds, each with random numbers of its own, the seeded tests go."""
