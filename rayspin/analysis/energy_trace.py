"""Energy and topology along a recursion from annealed spins (2021 paper, Figs. 3b and 3c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def topology_changes(charges: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the change of the topological charge, a whole number, from each step to the next, (steps - 1,).

    Args:
        charges: (steps,) topological charges.
    """
    whole = np.round(np.asarray(charges, np.float64)).astype(np.int64)
    return np.diff(whole)


def peaks_of_change(energies: npt.ArrayLike, count: int, apart: int) -> list[int]:
    """Return the steps at which the energy changes fastest, ascending.

    Args:
        energies: (steps,) energies.
        count: largest number of peaks.
        apart: least number of steps between two of them.

    Returns:
        The step after each of the largest changes |E(step) - E(step - 1)|.
    """
    change = np.abs(np.diff(np.asarray(energies, np.float64)))
    chosen: list[int] = []
    # A stable sort, so that equal changes are taken in order.
    for place in np.argsort(-change, kind="stable"):
        step = int(place) + 1
        if len(chosen) == count:
            break
        if all(abs(step - other) >= apart for other in chosen):
            chosen.append(step)
    return sorted(chosen)
