"""Measure the schedules in docs/schedules.md: `python -m tests.benchmarks.schedules docs` (ten minutes).

This writes schedules_labyrinth.png, schedules_domain.png, and schedules.json with the values of the tables.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from rayspin.analysis.figures import draw_measurements
from rayspin.analysis.resolution import by_baseline
from rayspin.physics import (
    DOMAIN,
    DOMAIN_SCHEDULE,
    LABYRINTH,
    AnnealSchedule,
    Degradation,
    Hamiltonian,
    anneal,
    energy,
    torque,
)
from rayspin.physics.observables import structure_factor_peak, topological_charge, wall_length

OVER_RELAXED = AnnealSchedule(over_relaxation=4, quench_sweeps=200, quench_overshoot=0.0)
RELAXED = AnnealSchedule(over_relaxation=4)
LABYRINTHS = {
    "heat bath, quench 1000": [
        OVER_RELAXED.with_updates(sweeps=n, over_relaxation=0, quench_sweeps=1000) for n in (300, 1000, 3000)
    ],
    "heat bath + 4, quench 200": [OVER_RELAXED.with_updates(sweeps=n) for n in (60, 100, 150, 300)],
    "heat bath + 4, to 1e-4 J": [RELAXED.with_updates(sweeps=n) for n in (60, 150)],
}
PLAIN = AnnealSchedule(start_temperature=0.9, quench_sweeps=300, quench_overshoot=0.0)
DOMAINS = {
    "heat bath, quench 300": [PLAIN.with_updates(sweeps=n) for n in (300, 1000, 3000)],
    "heat bath + 4, quench 300": [PLAIN.with_updates(sweeps=n, over_relaxation=4) for n in (300, 1000, 3000)],
    "heat bath + 6, to 1e-4 J": [DOMAIN_SCHEDULE.with_updates(sweeps=n) for n in (150, 300, 600, 1200, 3000)],
}
RESIZE = by_baseline("bilinear (published)", Degradation())
PUBLISHED = {4: 0.0059, 8: 0.028, 16: 0.0913}
"""Published mean square error of bilinear resizing for each scale: 2023 paper, Table 2, domains."""


def mean_and_error(values):
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def interpolation_errors(spins):
    """Return the interpolation error of each field relative to the published one, averaged over the three scales.

    The error measures the amount of domain walls: the resized field is shifted by (scale - 1) / 2 sites, and so differs
    from the original field at walls only.
    """
    errors = []
    for scale, published in PUBLISHED.items():
        resized = RESIZE(spins[:, ::scale, ::scale], scale)
        errors.append(np.mean((resized - spins) ** 2, axis=(1, 2, 3)) / published)
    return np.mean(errors, axis=0)


def measure(hamiltonian: Hamiltonian, schedule: AnnealSchedule, samples: int):
    """Return mean and standard error of each compared quantity, and the minimum CPU time, of `samples` samples."""
    fields, seconds = [], []
    for n in range(samples):
        begin = time.thread_time()  # CPU time, which does not include waiting for a core
        fields.append(anneal(hamiltonian, 128, schedule, seed=(2024, schedule.sweeps, schedule.over_relaxation, n)))
        seconds.append(time.thread_time() - begin)
    spins = np.stack(fields)
    center, width = structure_factor_peak(spins)
    return {
        "schedule": schedule.to_table(),
        "samples": samples,
        "milliseconds": 1e3 * float(np.min(seconds)),
        "energy (J per site)": mean_and_error(energy(spins, hamiltonian)),
        "peak: center (1/site)": mean_and_error(center),
        "peak: width (1/site)": mean_and_error(width),
        "|topological charge|": mean_and_error(np.abs(topological_charge(spins))),
        "wall per site": mean_and_error(wall_length(spins)),
        "interpolation errors / published": mean_and_error(interpolation_errors(spins)),
        "largest torque (J)": mean_and_error([np.linalg.norm(torque(s, hamiltonian), axis=-1).max() for s in spins]),
    }


def main(folder: Path, labyrinths: int = 200, domains: int = 32) -> None:
    """Measure the schedules of labyrinths and domains, and draw the results."""
    results = {
        "labyrinth": {name: [measure(LABYRINTH, s, labyrinths) for s in ss] for name, ss in LABYRINTHS.items()},
        "domain": {name: [measure(DOMAIN, s, domains) for s in ss] for name, ss in DOMAINS.items()},
    }
    (folder / "schedules.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, folder)


def draw(results, folder: Path) -> None:
    """Draw the quantities of labyrinths against CPU time and those of domains against sweeps."""
    times = {
        name: [(point["milliseconds"], point) for point in points] for name, points in results["labyrinth"].items()
    }
    reference = results["labyrinth"]["heat bath, quench 1000"][-1]
    quantities = ["energy (J per site)", "peak: center (1/site)", "peak: width (1/site)", "|topological charge|"]
    draw_measurements(times, quantities, "CPU time per field (ms)", folder / "schedules_labyrinth.png", reference)
    sweeps = {
        name: [(point["schedule"]["sweeps"], point) for point in points] for name, points in results["domain"].items()
    }
    quantities = ["energy (J per site)", "wall per site", "interpolation errors / published"]
    draw_measurements(sweeps, quantities, "heat-bath sweeps", folder / "schedules_domain.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
