"""The blocks of a dataset: samples, distributions of observables, and the similarity of the samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from rayspin.analysis.figures import Floats, every
from rayspin.physics.observables import magnetization, topological_charge, wall_length
from rayspin.report import charts
from rayspin.report.blocks import Block, Facts, Gallery, Slides
from rayspin.report.images import DETAILS
from rayspin.rundir import RunDir, Table
from rayspin.storage import SPLITS, Catalog, Point, SpinReader

SHOWN_SAMPLES = 8
SHOWN_POINTS = 16
"""Largest number of points of the slider over the parameters of a dataset."""
MEASURED_SAMPLES = 200
"""Largest number of samples whose observables are computed."""
COMPARED_SAMPLES = 32
"""Largest number of samples that are compared pair by pair."""

_HELD_MIB = 64
"""Memory of the samples that are compared, MiB, at most."""


def dataset_blocks(run: RunDir, job: Table) -> list[Block]:  # noqa: ARG001
    """Return the blocks of a dataset; none before its first shard.

    Args:
        run: folder of the dataset.
        job: its job.

    Raises:
        InputError: the files of the dataset are damaged.
    """
    catalog = Catalog.read(run.path)
    if not catalog.records:
        return []
    return [_facts(catalog), _samples(catalog), *_distributions(catalog), *_diversity(catalog)]


def _facts(catalog: Catalog) -> Facts:
    energies, codes = catalog.column("energy"), catalog.column("split")
    splits = {split: int(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)}
    rows, columns = catalog.shape
    points = {"Hamiltonians and schedules": f"{len(catalog.points)}, in turn"} if len(catalog.points) > 1 else {}
    return Facts(
        "Dataset",
        {
            "samples": f"{catalog.samples_done:,} of {catalog.layout.samples:,} ("
            + ", ".join(f"{count:,} {split}" for split, count in splits.items() if count)
            + ")",
            **({"missing": catalog.lacking} if catalog.lacking else {}),
            "lattice": f"{rows} × {columns} sites",
            "files": f"{len(catalog.records):,} shards, {catalog.bytes / 1e6:,.1f} MB",
            "energy per site": f"{energies.mean():.5f} ± {energies.std():.5f} J",
            **points,
            **_parameters(catalog.points[0]),
        },
    )


def _parameters(point: Point) -> dict[str, str]:
    """Return the parameters of a point that are not zero, as rows."""
    hamiltonian = {
        key: value for key, value in point.hamiltonian.to_table().items() if value not in (0, [0.0, 0.0, 0.0])
    }
    if not point.hamiltonian.anisotropy:
        hamiltonian.pop("anisotropy_axis", None)
    schedule = {key: value for key, value in point.schedule.to_table().items() if value not in ([], 0)}
    return {
        "Hamiltonian": ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in hamiltonian.items()),
        "schedule": ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in schedule.items()),
    }


def _samples(catalog: Catalog) -> Gallery:
    """Return the first samples, or, for several points, some samples of each with a slider over the points."""
    reader, points = catalog.reader(), catalog.points
    if len(points) == 1:
        energies = catalog.column("energy")
        panels = {
            f"sample {reader.samples[n]}: {energies[n]:.4f} J": _shown(reader, [n])
            for n in range(min(SHOWN_SAMPLES, len(reader)))
        }
        return Gallery(
            "Samples", "The first samples of the dataset, with their energy per site.", {"": Slides("", ("",), panels)}
        )
    numbers = catalog.point_numbers
    present = sorted(set(numbers.tolist()))
    chosen = charts.thinned(present, SHOWN_POINTS)
    each = min(4, *(int(np.count_nonzero(numbers == point)) for point in chosen))
    places = np.array([np.flatnonzero(numbers == point)[:each] for point in chosen])
    labels = _labels([points[int(point)] for point in chosen])
    slides = Slides(labels[0], labels[1], {f"sample {n + 1}": _shown(reader, places[:, n]) for n in range(each)})
    return Gallery("Samples", "Samples at each point of the parameters.", {"": slides})


def _shown(reader: SpinReader, positions: Iterable[int]) -> Floats:
    """Return the spins of samples that an image shows, (n, Y, X, 3); one whole sample at a time is in memory."""
    window = every(reader.shape, DETAILS[0].side)
    return np.concatenate([reader.read([position], window) for position in positions])


def _labels(points: list[Point]) -> tuple[str, list[str]]:
    """Return the name of the parameters that differ between points, and their values at each."""
    tables = [
        {f"{part}.{key}": value for part, inner in point.to_table().items() for key, value in inner.items()}
        for point in points
    ]
    changing = [key for key in tables[0] if any(table.get(key) != tables[0][key] for table in tables)]
    names = [key.partition(".")[2].replace("_", " ") for key in changing]
    return ", ".join(names), [", ".join(_value(table[key]) for key in changing) for table in tables]


def _distributions(catalog: Catalog) -> list[Block]:
    energies, numbers = catalog.column("energy"), catalog.point_numbers
    groups = {"all samples": energies}
    if 1 < len(catalog.points) <= len(charts.PALETTE):
        groups = {f"point {point}": energies[numbers == point] for point in sorted(set(numbers.tolist()))}
    reader = catalog.reader()
    spins_NYXC = reader.read(np.array(charts.thinned(range(len(reader)), min(MEASURED_SAMPLES, _affordable(reader)))))
    boundary = catalog.points[0].hamiltonian.boundary
    text = f"Of {len(spins_NYXC)} samples." if len(spins_NYXC) < len(reader) else "Of all samples."
    observables = {
        "magnetization along z": ("mean S_z", np.array([magnetization(spins)[2] for spins in spins_NYXC])),
        "topological charge": (
            "charge",
            np.array([float(topological_charge(spins, boundary)) for spins in spins_NYXC]),
        ),
        "length of the walls S_z = 0": (
            "wall length per site",
            np.array([float(wall_length(spins, boundary)) for spins in spins_NYXC]),
        ),
    }
    return [
        charts.histogram("Energies", "Number of samples by energy per site.", groups, "energy per site (J)"),
        *(
            charts.histogram(
                name[0].upper() + name[1:], f"Number of samples by {name}. {text}", {"samples": values}, label
            )
            for name, (label, values) in observables.items()
        ),
    ]


def _diversity(catalog: Catalog) -> list[Block]:
    """Return the distribution of the largest overlap of two samples over all shifts, which finds copies."""
    reader = catalog.reader()
    count = min(COMPARED_SAMPLES, _affordable(reader))
    if len(reader) < 2 or count < 2:
        return []
    spins_NYXC = reader.read(np.array(charts.thinned(range(len(reader)), count)))
    overlaps = _overlaps(spins_NYXC)
    closest = f"The closest pair has {overlaps.max():.3f}"
    return [
        charts.histogram(
            "Diversity",
            "Largest overlap (mean of S · S′ over sites) of two samples over all periodic shifts, for all pairs of "
            f"{len(spins_NYXC)} samples. Copies would have 1, apart from shifts. {closest}.",
            {"pairs": overlaps},
            "largest overlap of a pair",
            "pairs",
        )
    ]


def _overlaps(spins_NYXC: Floats) -> Floats:
    """Return the largest overlap over all shifts of each pair of samples, (pairs,)."""
    spectra = np.fft.rfft2(spins_NYXC, axes=(1, 2))
    shape = spins_NYXC.shape[1:3]
    pairs = itertools.combinations(range(len(spins_NYXC)), 2)
    found = [np.fft.irfft2((spectra[a] * spectra[b].conj()).sum(axis=-1), s=shape).max() for a, b in pairs]
    overlaps: Floats = np.array(found) / (shape[0] * shape[1])
    return overlaps


def _affordable(reader: SpinReader) -> int:
    """Return the number of samples that are held in memory at most."""
    return max(1, _HELD_MIB * 2**20 // (12 * reader.shape[0] * reader.shape[1]))


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
