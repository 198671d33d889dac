"""Draw docs/reliability.png: `python -m tests.benchmarks.reliability docs` (about a minute of one core).

This compares the errors that the trust models predict for "map" with the true ones, and prints the ratios in deciles.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rayspin.analysis.figures import draw_reliability
from rayspin.physics import DOMAIN, DOMAIN_SCHEDULE, LABYRINTH, LABYRINTH_SCHEDULE, Degradation, anneal
from rayspin.reconstruction import reconstruct, reliability, squared_error

SEED = 53001
KINDS = {
    "labyrinths": (LABYRINTH, LABYRINTH_SCHEDULE, (4, 8)),
    "domains": (DOMAIN, DOMAIN_SCHEDULE, (4, 8, 16)),
}


def main(folder: Path, fields: int = 100) -> None:
    """Measure and draw the deciles of predicted errors."""
    curves = {}
    for name, (hamiltonian, schedule, scales) in KINDS.items():
        truth = np.stack([anneal(hamiltonian, 128, schedule, (SEED, number)) for number in range(fields)])
        for scale in scales:
            coarse = Degradation().apply(truth, scale)
            result = reconstruct(coarse, scale, "map", hamiltonian=hamiltonian)
            predicted, actual = reliability(result.trust, squared_error(result.spins, truth))
            curves[f"{name} x{scale}"] = predicted, actual
            print(f"{name} x{scale}: {(actual / predicted).min():.2f} to {(actual / predicted).max():.2f}")
    draw_reliability(curves, folder / "reliability.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
