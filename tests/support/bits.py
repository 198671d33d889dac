"""Digests of annealed samples of every kind and of quantities derived from them: `python -m tests.support.bits`."""

from __future__ import annotations

import hashlib

from rayspin.physics import (
    DOMAIN,
    LABYRINTH,
    AnnealSchedule,
    Degradation,
    Hamiltonian,
    anneal,
    effective_field,
    energy,
)

SCHEDULE = AnnealSchedule(sweeps=12, quench_sweeps=6, over_relaxation=1, quench_overshoot=0.5)
TURNED = Hamiltonian(dmi=0.2, dmi_kind="bulk", anisotropy=-0.3, anisotropy_axis=(1.0, 2.0, 3.0), dipole=0.1)
SAMPLES = (
    (LABYRINTH, SCHEDULE),
    (DOMAIN, SCHEDULE),
    (TURNED, SCHEDULE),
    (LABYRINTH, SCHEDULE.with_updates(ramp="geometric", sweeps=60)),
    (LABYRINTH, SCHEDULE.with_updates(ramp="geometric", via=((0.3, 0.7), (0.6, 0.1)), sweeps=60)),
    (LABYRINTH, SCHEDULE.with_updates(via=((0.3, 0.7), (0.6, 0.1)))),
    (LABYRINTH, SCHEDULE.with_updates(start_field=(0.1, 0.2, 0.7))),
    (DOMAIN, SCHEDULE.with_updates(start_field=(0.1, 0.2, 0.7), ramp="geometric", over_relaxation=0)),
    (Hamiltonian(anisotropy=0.5), SCHEDULE),
    # The largest eigenvalue of the quadratic form is 0, but LAPACK returns 1e-17 or -1e-17, depending on the CPU.
    (Hamiltonian(anisotropy=0.215, anisotropy_axis=(1.0, 2.0, 3.0)), SCHEDULE),
    (Hamiltonian(anisotropy=-0.7, anisotropy_axis=(3.0, -1.0, 0.5)), SCHEDULE),
    (LABYRINTH, SCHEDULE.with_updates(update="metropolis", over_relaxation=0)),
    (DOMAIN, SCHEDULE.with_updates(update="metropolis", over_relaxation=0, ramp="geometric")),
    (LABYRINTH.with_updates(boundary="open"), SCHEDULE.with_updates(start_temperature=100.0)),
)
DEGRADATIONS = (Degradation(), Degradation(sigma=1.3, sampling="average", coarse_sigma=0.7, mosaic=2))


def digests():
    """Return a digest of the spins, energy, field and coarse versions of each sample."""
    found = []
    for n, (model, schedule) in enumerate(SAMPLES):
        spins = anneal(model, (16, 40), schedule, seed=(20, n))
        coarse = [degradation.apply(spins, 4) for degradation in DEGRADATIONS]
        values = spins, energy(spins, model), effective_field(spins, model), *coarse
        found.append(hashlib.sha256(b"".join(array.tobytes() for array in values)).hexdigest())
    return found


if __name__ == "__main__":
    print(*digests())
