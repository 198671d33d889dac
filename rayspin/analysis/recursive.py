"""The recursive process of the 2021 paper.

In each iteration an estimate gives the effective field of the spins, a function "modify" turns it into F', and a
function "evolve" computes the next spins from F' (`rayspin.analysis.recursive_steps`). An experiment is a choice of
these functions. With a network, the process is not a simulation: it repairs, denoises and generates spin textures
because the network favors typical ones. A comparison with the same process with the exact field in place of the
estimate shows which results are due to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from rayspin.analysis.estimates import Estimate
from rayspin.analysis.recursive_steps import Evolve, Modify, WholeFieldStep, align
from rayspin.analysis.trajectory import Recorder, Spins, Trajectory, like, steps_of
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian
from rayspin.physics.arguments import STRONGEST, number, spin_field, whole
from rayspin.physics.hamiltonian import HamiltonianLike

Estimator: TypeAlias = Estimate | nn.Module | Callable[[Spins], Spins]
"""An estimate of the field, a network, or a function of spins (N, Y, X, 3) that returns the whole field, J."""


def recurse(
    spins_NYXC: npt.ArrayLike,
    estimate: Estimator,
    iterations: int,
    *,
    hamiltonian: HamiltonianLike,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
    isotropic: float = 0.0,
    reference: npt.ArrayLike | None = None,
    record: int | Iterable[int] = 1,
    frames: Iterable[int] = (),
) -> Trajectory:
    """Run the recursive process and return its observables, and the spins at chosen iterations.

    Args:
        spins_NYXC: (N, Y, X, 3) initial spins of any length, for example noisy, defective or with a single nonzero
            component; or a single field (Y, X, 3), for which the result has no axis N.
        estimate: a network, on its device, or `exact_field` or `exact_deviation` of a Hamiltonian, or a function.
        iterations: number of iterations.
        hamiltonian: the Hamiltonian of the energies; the process itself doesn't use it.
        modify: the function that turns F* into F'; None leaves F* unchanged.
        evolve: the function that computes the next spins from F'; None is `align`, the paper's choice.
        isotropic: c of an isotropic part c S that is added to the estimate, J. It exerts no torque and makes an
            alignment slower; for an estimate f* = F* - c S, the same c gives F*.
        reference: spins whose overlap is recorded too, such as those before a damage; in the shape of the spins or
            (Y, X, 3).
        record: number of iterations between records of the observables, or the iterations to record. The first and
            the last are always recorded.
        frames: iterations whose spins are kept, besides the last one; 0 is the start.

    Raises:
        InputError: an argument is invalid, or a step needs the whole field and the estimate leaves a part out.
    """
    start = spin_field(spins_NYXC).astype(np.float32, copy=False)
    batch = start.reshape(-1, *start.shape[-3:])
    iterations = whole("iterations", iterations, 0)
    energy_of = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    recorder = Recorder(energy_of, batch, like("reference", batch, reference), steps_of(record, iterations), frames)
    recorder.record(0, batch)
    steps = iterate(batch, estimate, iterations, modify=modify, evolve=evolve, isotropic=isotropic)
    for iteration, spins in enumerate(steps, 1):
        recorder.record(iteration, spins)
    trajectory = recorder.trajectory()
    return trajectory.single() if start.ndim == 3 else trajectory


def iterate(
    spins_NYXC: npt.ArrayLike,
    estimate: Estimator,
    iterations: int,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
    isotropic: float = 0.0,
) -> Iterator[Spins]:
    """Run the recursive process and yield the spins after each iteration.

    Args:
        spins_NYXC: as in `recurse`.
        estimate: as in `recurse`.
        iterations: as in `recurse`.
        modify: as in `recurse`.
        evolve: as in `recurse`.
        isotropic: as in `recurse`.

    Raises:
        InputError: as in `recurse`.
    """
    start = spin_field(spins_NYXC).astype(np.float32, copy=False)
    spins = start.reshape(-1, *start.shape[-3:])
    estimate, evolve = Estimate.of(estimate), evolve or align
    share = np.float32(number("isotropic", isotropic, -STRONGEST, STRONGEST))
    for name, step in (("modify", modify), ("evolve", evolve)):
        if isinstance(step, WholeFieldStep):
            _check_whole(name, step, estimate, isotropic)
    for iteration in range(1, whole("iterations", iterations, 0) + 1):
        field_NYXC = estimate(spins)
        if np.shape(field_NYXC) != spins.shape:
            problem = f"returns a field of shape {np.shape(field_NYXC)} for spins of shape {spins.shape}"
            raise InputError("estimate", problem, "return the shape of the spins")
        if share:
            field_NYXC = field_NYXC + share * spins
        if modify is not None:
            field_NYXC = modify(field_NYXC, spins, iteration)
        spins = evolve(field_NYXC, spins, iteration)
        yield spins.reshape(start.shape)


def _check_whole(name: str, step: WholeFieldStep, estimate: Estimate, isotropic: float) -> None:
    """Raise InputError unless the estimate with its isotropic part is the whole field."""
    if not np.isclose(isotropic, estimate.isotropic, rtol=1e-6, atol=1e-9):
        problem = (
            f"{step.name} needs the whole field, and the recursion follows F - {estimate.isotropic - isotropic:g} S"
        )
        raise InputError(name, problem, f"give isotropic = {estimate.isotropic:g}, or another step")
