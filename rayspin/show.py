"""Descriptions and pictures of datasets, shards, runs, weights files and results, for `rayspin show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayspin.errors import InputError
from rayspin.figure_files import check_figure_suffix
from rayspin.inputs import RECORD_BYTES, read_bytes
from rayspin.rundir import RunDir, Table, replacing

SHOWN_SAMPLES = 16
GENERATED_SIZE = 128
GENERATING_ITERATIONS = 10


def describe(path: Path, picture: Path | None) -> tuple[str, dict[str, str]]:
    """Describe the dataset, shard, run, weights file or result at `path` and optionally draw it.

    Args:
        path: folder of a dataset or a run, or a weights file (.safetensors), a shard or a result of `rayspin apply`
            (both .nc).
        picture: .png, .pdf or .svg file to write a picture to, or None for no picture.

    Returns:
        A title, and the rows of a table as a dictionary from names to values.

    Raises:
        InputError: `path` does not exist or is none of these, its files are damaged, or there is nothing to draw.
    """
    if picture is not None:
        check_figure_suffix(picture)
    if not path.exists():
        raise InputError(str(path), "no such file or folder", "give a dataset, a run or a weights file")
    if path.suffix == ".safetensors":
        return _weights(path, picture)
    if path.suffix == ".nc":
        return _netcdf(path, picture)
    run = RunDir.at(path)
    with run.reading():
        if (path / "ledger.jsonl").is_file():
            return _dataset(path, picture)
        if (job := run.asked()) is not None:
            return _run(run, job, picture)
    raise InputError(str(path), "neither dataset, run, shard nor weights", "give a path written by a rayspin job")


def _dataset(path: Path, picture: Path | None) -> tuple[str, dict[str, str]]:
    from rayspin.storage import SPLITS, Catalog, mending

    catalog = Catalog.open(path, incomplete=True)
    energies = catalog.column("energy")
    codes = catalog.column("split")
    if picture is not None:
        reader = catalog.reader()
        shown = range(min(SHOWN_SAMPLES, len(reader)))
        titles = [f"{reader.samples[position]}: {energies[position]:.4f} J" for position in shown]
        _draw(reader.read(list(shown)), titles, picture)
    return "dataset", {
        "samples": f"{catalog.samples_done} of {catalog.layout.samples}",
        **({"incomplete": f"{catalog.lacking}; {mending(path)}"} if catalog.lacking else {}),
        **{split: str(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)},
        "lattice": " x ".join(str(side) for side in catalog.shape),
        "shards": f"{len(catalog.records)}, {catalog.bytes / 1e6:.1f} MB",
        "energy per site": f"{energies.mean():.5f} +- {energies.std():.5f} J",
        "seed": str(catalog.layout.seed),
        **_flat("hamiltonian", catalog.job.get("hamiltonian", {})),
        **_flat("schedule", catalog.job.get("schedule", {})),
    }


def _netcdf(path: Path, picture: Path | None) -> tuple[str, dict[str, str]]:
    from rayspin.storage import read_contents

    names, attributes = read_contents(path)
    if "input_sha256" in attributes:
        return _result(path, "field" if "field" in names else "spins", attributes, picture)
    if not names & {"spins", "split"}:
        problem = "is neither a shard nor a result of rayspin apply"
        raise InputError(str(path), problem, "read it with xarray, or give another file")
    return _shard(path, picture)


def _result(path: Path, quantity: str, attributes: dict[str, str], picture: Path | None) -> tuple[str, dict[str, str]]:
    """Describe the result of `rayspin apply`, and draw it as that command does, but without the exact result."""
    from rayspin.application import draw, size_of
    from rayspin.storage import read_variables

    damaged = InputError(str(path), "is a damaged result of rayspin apply", "apply to the input again")
    try:
        given_NYXC, values_NYXC = read_variables(path, "input", quantity)
    except InputError:
        raise damaged from None
    for array in (given_NYXC, values_NYXC):
        if array.ndim != 4 or not array.size or array.shape[-1] not in (1, 3):
            raise damaged
    title = attributes.pop("title", quantity)
    if picture is not None:
        draw({"input": given_NYXC, title: values_NYXC}, picture)
    size = f"{len(values_NYXC)} of {size_of(values_NYXC)}"
    return "result of rayspin apply", {"operation": title, "result": f"{quantity}, {size}", **attributes}


def _shard(path: Path, picture: Path | None) -> tuple[str, dict[str, str]]:
    from rayspin.storage import inspect_shard, read_shard

    record = inspect_shard(path)
    values, attributes = read_shard(path)
    if picture is not None:
        titles = [f"{sample}: {energy:.4f} J" for sample, energy in zip(values["sample"], values["energy"])]
        _draw(values["spins"][:SHOWN_SAMPLES], titles[:SHOWN_SAMPLES], picture)
    last = record.first_sample + record.count - 1
    return "shard", {"samples": f"{record.first_sample} to {last}", "file digest": record.sha256, **attributes}


def _run(run: RunDir, job: Table, picture: Path | None) -> tuple[str, dict[str, str]]:
    from rayspin.jobs.progress import state

    summary = run.finished(job)
    if picture is not None:
        if summary is None or not summary.pictures:
            raise InputError(str(run.path), "has no picture (yet)", "finish the run, or show one of its stages")
        path = (run.path / summary.pictures[-1]).with_suffix(picture.suffix)
        if not path.exists():
            raise InputError(str(path), "has not been drawn", f"run the job again with --figures {picture.suffix[1:]}")
        drawn = read_bytes(path, limit=RECORD_BYTES)
        with replacing(picture) as temporary:
            temporary.write_bytes(drawn)
    figures: dict[str, str] = {}
    if summary is not None:
        for part in summary.parts or (summary,):
            figures |= {f"{part.title}: {name}": value for name, value in part.figures.items()}
    return f"run of a {job['kind']} job", {"state": state(run, job), **figures}


def _weights(path: Path, picture: Path | None) -> tuple[str, dict[str, str]]:
    from rayspin.models import load_weights, weights_info

    facts = weights_info(path)
    network = load_weights(path)
    if picture is not None:
        _draw_network(network, picture)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    provenance = facts["provenance"]
    return f"{facts['network']} network", {
        "parameters": str(parameters),
        **_flat("network", facts["config"]),
        **_flat("output", facts.get("output", {})),
        **{key: value for name, table in provenance.items() for key, value in _flat(name, table).items()},
    }


def _draw_network(network: Any, picture: Path) -> None:
    """Draw the output of a network for random spins.

    The effective-field network is applied recursively to generate a texture (2021, Fig. 5a); a super-resolution network
    is applied once to coarse spins.
    """
    from rayspin.analysis.recursive import iterate
    from rayspin.analysis.resolution import normalized
    from rayspin.models import FieldNet, apply
    from rayspin.physics.corruption import defect_rows

    if isinstance(network, FieldNet):
        start = defect_rows(np.zeros((1, GENERATED_SIZE, GENERATED_SIZE, 3)), GENERATED_SIZE, (0,))
        *_, made = iterate(start, network, GENERATING_ITERATIONS)
        titles = ["random spins", f"after {GENERATING_ITERATIONS} recursions"]
    else:
        coarse = GENERATED_SIZE // network.config.scale
        start = defect_rows(np.zeros((1, coarse, coarse, 3)), coarse, (0,))
        made = normalized(apply(network, start))
        titles = ["random coarse spins", "the network's fine spins"]
    from rayspin.analysis.figures import draw_samples

    draw_samples([start[0], made[0]], titles, picture)


def _draw(spins: Any, titles: list[str], picture: Path) -> None:
    from rayspin.analysis.figures import draw_samples

    draw_samples(spins, titles, picture)


def _flat(name: str, table: Any) -> dict[str, str]:
    """Flatten nested tables into rows with dotted names."""
    if not isinstance(table, dict):
        return {name: f"{table:.6g}" if isinstance(table, float) else str(table)}
    return {row: value for key, inner in table.items() for row, value in _flat(f"{name}.{key}", inner).items()}
