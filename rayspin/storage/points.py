"""The parameter points of a dataset: one Hamiltonian and schedule, or several that its samples take turns in.

Sample i belongs to point i mod P. So a dataset of any count holds all points evenly (to one sample), and one that
grows gives each point more samples without a sample ever changing its point.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.config import Config, build, replace_key
from rayspin.errors import InputError
from rayspin.physics import AnnealSchedule, Hamiltonian, energy
from rayspin.physics.arguments import series_of_integers
from rayspin.storage.schema import IN_J, Variable

MOST_POINTS = 50_000
"""Points of a dataset at most: each one is checked by itself, some ten thousand in a second."""

_MEASURED_IN = {
    IN_J: ("exchange", "dmi", "dipole", "anisotropy", "external_field", "start_field"),
    "in units of J / k_B": ("start_temperature", "end_temperature"),
    "in units of the largest coupling": ("torque_tolerance",),
}


class Point(Config):
    """What a sample is annealed under, and how."""

    hamiltonian: Hamiltonian
    schedule: AnnealSchedule = AnnealSchedule()


def points_of(job: Mapping[str, Any], where: str = "") -> tuple[Point, ...]:
    """The points of a resolved job: each of its variants at each point of its grid, the grid's last key fastest.

    Args:
        job: tables `hamiltonian` and `schedule`; optionally `variants`, a list of tables with another of either, and
            `grid`, lists of values by dotted key ("hamiltonian.dmi").
        where: what the user calls the job, for errors.

    Raises:
        InputError: a key or value that makes no Hamiltonian or schedule, or a point twice.
    """
    grid: Mapping[str, Sequence[Any]] = job.get("grid", {})
    for key, values in grid.items():
        if key.partition(".")[0] not in Point.model_fields:
            problem, remedy = "no parameter of a sample", "write hamiltonian.KEY or schedule.KEY"
            raise InputError(_place(where, f"grid.{key}"), problem, remedy)
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or not len(values):
            raise InputError(_place(where, f"grid.{key}"), "has no values", "list some")
    found = []
    variants: Sequence[Mapping[str, Any]] = job.get("variants") or ({},)
    count = len(variants) * math.prod(map(len, grid.values()))
    if count > MOST_POINTS:
        raise InputError(_place(where, "grid"), f"has {count} points", f"give at most {MOST_POINTS}")
    for variant in variants:
        base = {section: variant.get(section, job.get(section, {})) for section in Point.model_fields}
        for values in itertools.product(*grid.values()):
            table = copy.deepcopy(base)
            for key, value in zip(grid, values):
                replace_key(table, key, value, _place(where, "grid"))
            at = ", ".join(f"{key} = {value}" for key, value in zip(grid, values))
            found.append(build(Point, table, _place(where, at)))
    if len(set(found)) < len(found):
        raise InputError(_place(where, "grid"), "the same Hamiltonian and schedule twice", "give each one once")
    return tuple(found)


def point_numbers(samples: npt.NDArray[np.int64], points: Sequence[Point]) -> npt.NDArray[np.int32]:
    """The point of each sample, as an index into the points."""
    return (series_of_integers("samples", samples) % len(points)).astype(np.int32)


def each_point(
    points: Sequence[Point], samples: npt.NDArray[np.int64]
) -> Iterator[tuple[Point, npt.NDArray[np.bool_] | slice]]:
    """Each point that some of the samples belong to, and which do, as an index into arrays of n samples."""
    if len(points) == 1:
        return iter([(points[0], slice(None))])
    numbers = point_numbers(samples, points)
    return ((points[number], numbers == number) for number in np.unique(numbers))


def energies_at(
    points: Sequence[Point], samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Energy per site of spins, each sample's under its own Hamiltonian, J, (n,)."""
    energies = np.empty(len(samples))
    for point, here in each_point(points, samples):
        energies[here] = energy(spins_NYXC[here], point.hamiltonian)
    return energies


def parameters_of(points: Sequence[Point]) -> dict[str, tuple[Variable, npt.NDArray[Any]]]:
    """What differs between the points: a variable for each such parameter, and its value at each point.

    The number of the point comes first. A single point has no parameters. Texts are stored as flags; what is unset
    is NaN; the points of a schedule's ramp (`via`) have no number of their own and are told by the number of the point.
    """
    if len(points) == 1:
        return {}
    number = Variable("point", ("sample",), "i4", "1", "number of the Hamiltonian and schedule among those of the job")
    found: dict[str, tuple[Variable, npt.NDArray[Any]]] = {"point": (number, np.arange(len(points), dtype="i4"))}
    for section, kind in (("hamiltonian", Hamiltonian), ("schedule", AnnealSchedule)):
        for name in kind.model_fields:
            values = [getattr(getattr(point, section), name) for point in points]
            if name != "via" and any(value != values[0] for value in values):
                found[name] = _parameter(name, section, values)
    return found


def _parameter(name: str, section: str, values: list[Any]) -> tuple[Variable, npt.NDArray[Any]]:
    measured_in = next((f", {of}" for of, names in _MEASURED_IN.items() if name in names), "")
    long_name = f"{name} of the sample's {section}{measured_in}"
    if any(isinstance(value, str) for value in values):
        meanings = sorted(set(values))
        flags = {"flag_values": np.arange(len(meanings), dtype="i1"), "flag_meanings": " ".join(meanings)}
        codes = np.array([meanings.index(value) for value in values], dtype="i1")
        return Variable(name, ("sample",), "i1", "1", long_name, flags), codes
    if any(isinstance(value, tuple) for value in values):
        vectors = np.array([(np.nan,) * 3 if value is None else value for value in values])
        return Variable(name, ("sample", "component"), "f8", "1", long_name), vectors
    dtype = "i8" if all(isinstance(value, int) for value in values) else "f8"
    return Variable(name, ("sample",), dtype, "1", long_name), np.array(values, dtype=dtype)


def _place(*parts: str) -> str:
    return ": ".join(part for part in parts if part)
