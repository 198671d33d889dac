"""The card of a dataset: a README.md with two pictures in its folder, made from its ledger, job and shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.progress import counted
from rayspin.rundir import write_text
from rayspin.storage import SPLITS, Catalog

CARD = "README.md"
ENERGIES_PICTURE, SAMPLES_PICTURE = "energies.png", "samples.png"
_ENERGIES = "energies of the samples"
_SHOWN_SAMPLES = 16
_SHOWN_POINTS = 8


def write_card(folder: Path) -> tuple[str, str]:
    """Write the card of the dataset in `folder`, and return the file names of its two pictures.

    Raises:
        InputError: no shard is done.
    """
    catalog = Catalog.open(folder)
    _draw(catalog)
    write_text(folder / CARD, _text(catalog))
    return SAMPLES_PICTURE, ENERGIES_PICTURE


def _draw(catalog: Catalog) -> None:
    from rayspin.analysis import figures  # Importing matplotlib takes a second, and workers draw nothing.

    energies, numbers = catalog.column("energy"), catalog.point_numbers
    groups = {"all samples": energies}
    if 1 < len(catalog.points) <= _SHOWN_POINTS:
        groups = {f"point {point}": energies[numbers == point] for point in range(len(catalog.points))}
        groups = {name: values for name, values in groups.items() if len(values)}
    figures.draw_histogram(groups, "energy per site (J)", "samples", catalog.path / ENERGIES_PICTURE, title=_ENERGIES)
    reader = catalog.reader()
    shown = np.arange(min(_SHOWN_SAMPLES, len(reader)))
    point = [f", point {numbers[position]}" if len(catalog.points) > 1 else "" for position in shown]
    titles = [f"{reader.samples[p]}: {energies[p]:.4f} J{at}" for p, at in zip(shown, point)]
    figures.draw_samples(list(reader.read(shown)), titles, catalog.path / SAMPLES_PICTURE)


_CARD = """\
# {name}

{samples:,} spin configurations of {rows} x {columns} sites, annealed{several} by rayspin.
This card is generated from the dataset's files, and generated again when the dataset grows.

{contents}

![{shown} samples]({samples_picture})

*White points up, black points down, and a color is a direction in the plane. Titles: number and energy per site.*

![Histogram of the energies]({energies_picture})

## Load

Run this in the parent folder. `xarray.open_mfdataset("{name}/shard-*.nc")` works too.

```python
from rayspin.storage import open_dataset
dataset = open_dataset("{name}")
spins, energies = dataset["spins"], dataset["energy"]
```

## How it was made

{physics}

Lattice units: J = k_B = lattice constant = moment = 1; every pair counts once. Sample i depends on its Hamiltonian, the
size, the schedule and the seed (root seed, i) only: `rayspin run job.toml` reproduces these bytes.

{making}

## Cite

The software and, for the methods,
D. B. Lee et al., *Sci. Rep.* 11 (2021), [10.1038/s41598-021-02374-0](https://doi.org/10.1038/s41598-021-02374-0) and
D. B. Lee et al., *Sci. Rep.* 13 (2023), [10.1038/s41598-023-38335-y](https://doi.org/10.1038/s41598-023-38335-y).
The digest above identifies this dataset.
"""


def _text(catalog: Catalog) -> str:
    rows, columns = catalog.shape
    points = len(catalog.points)
    return _CARD.format(
        name=catalog.path.resolve().name,
        samples=catalog.samples_done,
        rows=rows,
        columns=columns,
        several=f" under {points} Hamiltonians and schedules in turn" if points > 1 else "",
        shown=min(_SHOWN_SAMPLES, catalog.samples_done),
        samples_picture=SAMPLES_PICTURE,
        energies_picture=ENERGIES_PICTURE,
        contents=_table(_contents(catalog)),
        physics=_table(_physics(catalog.job)),
        making=_table(_making(catalog)),
    )


def _contents(catalog: Catalog) -> dict[str, str]:
    energies, codes = catalog.column("energy"), catalog.column("split")
    splits = {split: int(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)}
    return {
        "samples": ", ".join(f"{count:,} {split}" for split, count in splits.items() if count),
        "shards": f"{len(catalog.records):,}, {catalog.bytes / 1e6:,.1f} MB, NetCDF-4",
        "variables": ", ".join(f"`{name}` ({', '.join(of.dimensions)})" for name, of in catalog.variables.items()),
        "energy per site": f"{energies.mean():.5f} +- {energies.std():.5f} J",
        "lowest, highest": f"{energies.min():.5f} J, {energies.max():.5f} J",
        "digest of all values": f"`{catalog.reader().digest}`",
    }


def _physics(job: Mapping[str, Any]) -> dict[str, str]:
    rows = {"root seed": str(job["seed"])}
    for section in ("hamiltonian", "schedule"):
        # Terms that are zero are left out.
        rows |= {
            f"{section}.{key}": str(value)
            for key, value in job[section].items()
            if value not in (0, [], [0.0, 0.0, 0.0]) or section == "schedule"
        }
    for number, variant in enumerate(job.get("variants", ())):
        rows[f"variant {number}"] = str(variant)
    return rows | {f"grid of {key}": ", ".join(map(str, values)) for key, values in job.get("grid", {}).items()}


def _making(catalog: Catalog) -> dict[str, str]:
    entries = Catalog.history(catalog.path)
    hosts = Counter(entry["host"] for entry in entries if "host" in entry)
    times = sorted(entry["entered"] for entry in entries)
    hours = sum(entry.get("seconds", 0.0) for entry in entries) / 3600
    made_with = {entry["first_sample"]: entry["made_with"] for entry in entries}
    return {
        "process-hours": f"{hours:.3g}",
        "machines": ", ".join(f"{host} ({counted(count, 'shard')})" for host, count in hosts.most_common(8)),
        "from, to": f"{times[0]}, {times[-1]}",
        "made with": "<br>".join(sorted(set(made_with.values()))),
    }


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
