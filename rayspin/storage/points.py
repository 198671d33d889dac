"""The parameter points of a dataset: the Hamiltonian and schedule of each sample.

Of P points, sample i belongs to point i mod P. The numbers of samples per point therefore differ by at most one, and a
dataset can grow without a sample changing its point.
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
"""The largest number of points of a dataset: each one is validated separately, about ten thousand per second."""

_MEASURED_IN = {
    IN_J: ("exchange", "dmi", "dipole", "anisotropy", "external_field", "start_field"),
    "in units of J / k_B": ("start_temperature", "end_temperature"),
    "in units of the largest coupling": ("torque_tolerance",),
}


class Point(Config):
    """The Hamiltonian and the annealing schedule of a sample."""

    hamiltonian: Hamiltonian
    """The Hamiltonian that the spins are annealed under."""
    schedule: AnnealSchedule = AnnealSchedule()
    """The annealing schedule."""


def points_of(job: Mapping[str, Any], where: str = "") -> tuple[Point, ...]:
    """The points of a resolved job: every variant at every point of the grid, with the grid's last key varying fastest.

    Args:
        job: the job, with tables `hamiltonian` and `schedule`; optionally `variants`, a list of tables that replace
            either of them, and `grid`, lists of values by dotted key ("hamiltonian.dmi").
        where: the name of the job in error messages.

    Raises:
        InputError: a key or value is invalid, a point occurs twice, or there are more than `MOST_POINTS` points.
    """
    grid: Mapping[str, Sequence[Any]] = job.get("grid", {})
    for key, values in grid.items():
        if key.partition(".")[0] not in Point.model_fields:
            remedy = "write hamiltonian.KEY or schedule.KEY"
            raise InputError(_place(where, f"grid.{key}"), "is not a parameter of a sample", remedy)
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or not len(values):
            raise InputError(_place(where, f"grid.{key}"), "has no values", "give a list of values")
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
        raise InputError(_place(where, "grid"), "has the same Hamiltonian and schedule twice", "give each one once")
    return tuple(found)


def point_numbers(samples: npt.NDArray[np.int64], points: Sequence[Point]) -> npt.NDArray[np.int32]:
    """The index of each sample's point, (n,).

    Args:
        samples: (n,) sample numbers.
        points: the points of the dataset.

    Raises:
        InputError: `samples` is not a one-dimensional array of integers.
    """
    return (series_of_integers("samples", samples) % len(points)).astype(np.int32)


def each_point(
    points: Sequence[Point], samples: npt.NDArray[np.int64]
) -> Iterator[tuple[Point, npt.NDArray[np.bool_] | slice]]:
    """The points that occur among the samples, each with an index that selects its samples from arrays of n samples."""
    if len(points) == 1:
        return iter([(points[0], slice(None))])
    numbers = point_numbers(samples, points)
    return ((points[number], numbers == number) for number in np.unique(numbers))


def energies_at(
    points: Sequence[Point], samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Energy per site of each sample under its own Hamiltonian, J, (n,).

    Args:
        points: the points of the dataset.
        samples: (n,) sample numbers.
        spins_NYXC: (n, Y, X, 3) spins of these samples.
    """
    energies = np.empty(len(samples))
    for point, here in each_point(points, samples):
        energies[here] = energy(spins_NYXC[here], point.hamiltonian)
    return energies


def parameters_of(points: Sequence[Point]) -> dict[str, tuple[Variable, npt.NDArray[Any]]]:
    """The parameters that differ between the points: by name, the variable to store and its value at each point.

    The first one is "point", the index of the point; a single point has no parameters. Text is stored as CF flags, and
    unset values as NaN. A schedule's intermediate temperatures (`via`) are not stored: "point" identifies them.
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
