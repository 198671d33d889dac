"""The blocks of evaluations: tables with published values, curves, and galleries of the frames that runs keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rayspin.analysis.figures import every
from rayspin.analysis.frames import PATTERN, Frames, read_frames
from rayspin.analysis.published import PublishedFigure, PublishedResolution, published_estimation
from rayspin.inputs import RECORD_BYTES, MissingFileError, parse_toml, read_text
from rayspin.jobs.tables import mean, where
from rayspin.report import charts
from rayspin.report.blocks import Block, Cell, Chart, Gallery, Slides, Table
from rayspin.report.images import DETAILS
from rayspin.report.tables import Row, mean_curve, names, read_csv
from rayspin.rundir import RunDir

ENERGY = "energy per site (J)"

_METRICS = {"mse": ("MSE", ".3g"), "psnr": ("PSNR, dB", ".2f"), "correlation": ("Corr", ".4f")}


def evaluation_blocks(run: RunDir, job: Row) -> list[Block]:
    """Return the blocks of a finished evaluation or reconstruction; those of an unfinished one have no tables yet.

    Args:
        run: folder of the run.
        job: its job.

    Raises:
        InputError: a file of the run is damaged.
    """
    blocks = _KINDS[job["kind"]](run, job)
    return [*_galleries(run.path), *blocks]


def _estimation(run: RunDir, job: Row) -> list[Block]:
    rows = read_csv(run.path / "estimation.csv")
    if not rows:
        return []
    published = _published_estimation(run, job)
    columns = {
        "mse": ("MSE, J²", ".3g"),
        "mse_relative": ("MSE over ⟨f²⟩", ".3g"),
        "energy_agreement": ("energy agreement", ".4%"),
        "correlation": ("correlation of F* − c S with F − c S", ".4f"),
        "angle": ("angle of F* to F, rad", ".3g"),
    }
    body: list[list[Cell | str]] = []
    for estimator in names(rows, "estimator"):
        line: list[Cell | str] = [estimator]
        for column, (_, form) in columns.items():
            values = np.array([row[column] for row in where(rows, estimator=estimator)])
            error = values.std() / np.sqrt(len(values))
            line.append(_compared(values.mean(), form, published.get(column), error))
        body.append(line)
    note = "The estimator “trivial” is F* = c S with the best c, which needs no network. f = F − c S is the deviation."
    estimators = names(rows, "estimator")

    def groups(column: str) -> dict[str, list[float]]:
        return {name: [row[column] for row in where(rows, estimator=name)] for name in estimators}

    return [
        Table("Errors of the estimated field", ("estimator", *(name for name, _ in columns.values())), body, note),
        charts.distributions("Errors of the fields", "MSE of each field.", groups("mse"), "MSE (J²)", log=True),
        charts.distributions(
            "Straight line of Fig. 2b",
            "Correlation of F* − c S with F − c S of each field; a straight line has 1.",
            groups("correlation"),
            "correlation",
        ),
    ]


def _resolution(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    samples = read_csv(run.path / "samples.csv")
    blocks: list[Block] = []
    table = read_csv(run.path / "resolution.csv")
    for scale in names(table, "scale"):
        count = len(set(names(samples, "sample")))
        blocks.append(_resolution_table(where(table, scale=scale), scale, count))
        blocks.append(_errors_by_method(where(samples, scale=scale), f"×{scale}"))
    return blocks


def _resolution_table(rows: list[Row], scale: int, samples: int) -> Table:
    columns = ["method", *(name for name, _ in _METRICS.values()), "MSE, unit spins", "walls, sites"]
    body: list[list[Cell | str]] = []
    for row in rows:
        line: list[Cell | str] = [row["method"]]
        known = _published(row)
        for metric, (_, form) in _METRICS.items():
            error = row[f"raw_{metric}_std"] / np.sqrt(samples)
            line.append(_compared(row[f"raw_{metric}_mean"], form, known.get(metric), error))
        line += [f"{row['normalized_mse_mean']:.3g}", f"{row['wall_position_mean']:.2g}"]
        body.append(line)
    note = (
        "Means over all samples. MSE, PSNR and Corr are of the spins as the method gives them, as in the paper. "
        "Published values of PSNR are corrected by −6.02 dB to the definition of PSNR of values in −1 to 1."
    )
    return Table(f"Super-resolution ×{scale}", columns, body, note)


def _published(row: Row) -> dict[str, PublishedFigure]:
    values = [row.get(f"published_{metric}", "") for metric in _METRICS]
    return PublishedResolution(*values).figures() if "" not in values else {}


def _errors_by_method(rows: list[Row], what: str) -> Chart:
    groups = {method: [row["normalized_mse"] for row in where(rows, method=method)] for method in names(rows, "method")}
    return charts.distributions(
        f"Errors {what}", "MSE of each sample, of spins of unit length.", groups, "MSE", log=True
    )


def _cross_feeding(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    samples, table = read_csv(run.path / "samples.csv"), read_csv(run.path / "cross_feeding.csv")
    blocks: list[Block] = []
    for scale in names(table, "scale"):
        rows = where(table, scale=scale)
        datasets, methods = names(rows, "dataset"), names(rows, "method")
        values = np.array(
            [[mean(where(rows, method=m, dataset=d), "normalized_mse_mean") for d in datasets] for m in methods]
        )
        blocks.append(
            charts.heat_map(
                f"Cross-feeding ×{scale}",
                "Mean squared error of each method (rows) on each dataset (columns), of spins of unit length.",
                values,
                ("method", methods),
                ("dataset", datasets),
                "MSE",
                log=True,
            )
        )
        blocks += [
            _errors_by_method(where(samples, scale=scale, dataset=name), f"×{scale}, {name}") for name in datasets
        ]
    return blocks


def _noise_response(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows, maxima = read_csv(run.path / "noise_response.csv"), read_csv(run.path / "maxima.csv")
    if not rows:
        return []
    amplitudes, methods = sorted(names(rows, "noise_amplitude")), names(rows, "method")
    blocks: list[Block] = [
        charts.curves(
            "Best correlation by noise",
            "Largest mean correlation with the truth over the iterations, for each amplitude of the noise.",
            {m: mean_curve(where(maxima, method=m), "noise_amplitude", "maximum") for m in methods},
            ("noise amplitude", "maximum of Corr"),
        )
    ]
    for method in methods:
        own = where(rows, method=method)
        lines = {a: mean_curve(where(own, noise_amplitude=a), "iteration", "correlation") for a in amplitudes}
        steps = lines[amplitudes[0]][0]
        blocks.append(
            charts.heat_map(
                f"Correlation of {method}",
                "Mean correlation with the truth by the iteration (columns) and the amplitude of the noise (rows).",
                np.array([lines[a][1] for a in amplitudes]),
                ("noise amplitude", [f"{a:g}" for a in amplitudes]),
                ("iteration", [f"{step:g}" for step in steps]),
                "Corr",
            )
        )
    return blocks


def _energy_trace(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "energy_trace.csv")
    estimators = names(rows, "estimator") if rows else []
    if not rows:
        return []
    return [
        _by_step("Energy", f"Mean {ENERGY} after each iteration.", rows, estimators, "energy", ENERGY),
        charts.curves(
            "Changes of the topological charge",
            "Samples whose topological charge changes in an iteration.",
            {name: _changes(where(rows, estimator=name)) for name in estimators},
            ("iteration", "samples"),
        ),
    ]


def _changes(rows: list[Row]) -> charts.Curve:
    counted = [{**row, "changed": row["charge_change"] != 0} for row in rows]
    steps = sorted(set(names(counted, "step")))
    return steps, [sum(row["changed"] for row in where(counted, step=step)) for step in steps]


def _restoration(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "restoration.csv")
    if not rows:
        return []
    estimators, damages = names(rows, "estimator"), names(rows, "damage")
    blocks: list[Block] = []
    for damage in damages:
        own = where(rows, damage=damage)
        text = "Mean overlap with the undamaged spins after each iteration."
        blocks.append(_by_step(f"Overlap: {damage}", text, own, estimators, "overlap_reference", "overlap"))
        energies = {name: mean_curve(where(own, estimator=name), "step", "energy") for name in estimators}
        energies["annealed samples"] = mean_curve(own, "step", "annealed")
        text = f"Mean {ENERGY} after each iteration."
        blocks.append(charts.curves(f"Energy: {damage}", text, energies, ("iteration", ENERGY)))
    return blocks


def _generation(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "generation.csv")
    blocks: list[Block] = []
    for size in names(rows, "size") if rows else []:
        own = [row for row in where(rows, size=size) if row["step"] > 0]
        lines = {name: mean_curve(where(own, estimator=name), "step", "energy") for name in names(own, "estimator")}
        blocks.append(
            charts.curves(
                f"Energy, {size} × {size} sites",
                f"Mean {ENERGY} after each iteration or sweep, from random maps.",
                lines,
                ("iteration or sweep", ENERGY),
                log=(True, False),
            )
        )
        charges = {
            name: mean_curve(
                [{**row, "charge": abs(row["charge"])} for row in where(own, estimator=name)], "step", "charge"
            )
            for name in lines
        }
        text = "Mean magnitude of the topological charge, a count of defects."
        labels = ("iteration or sweep", "|topological charge|")
        blocks.append(charts.curves(f"Defects, {size} × {size} sites", text, charges, labels, log=(True, False)))
    return blocks


def _external_field(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "external_field.csv")
    if not rows:
        return []
    last = {}
    for name in names(rows, "estimator"):
        own = where(rows, estimator=name)
        last[name] = where(own, step=max(row["step"] for row in own))
    charted = {
        "m_z": ("Magnetization", "mean S_z"),
        "charge": ("Topological charge", "topological charge"),
        "skyrmions": ("Skyrmions", "skyrmions"),
    }
    return [
        charts.curves(
            title,
            f"Mean over the samples after the last step in each external field along z: {label}.",
            {name: mean_curve(own, "field", column) for name, own in last.items()},
            ("external field (J)", label),
        )
        for column, (title, label) in charted.items()
    ]


def _reconstruction(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "fields.csv")
    labels = {
        "mse": ("Errors", "Mean squared error of each field.", "MSE"),
        "predicted_error": ("Predicted errors", "Predicted mean squared error of each field.", "predicted MSE"),
        "misfit": ("Misfit", "Root mean square of the misfit to the coarse spins, of each field.", "misfit"),
    }
    return [
        charts.distributions(title, text, {"fields": [row[column] for row in rows]}, label, log=True)
        for column, (title, text, label) in labels.items()
        if rows and column in rows[0]
    ]


def _robustness(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "robustness.csv")
    if not rows:
        return []
    cases, methods = names(rows, "case"), names(rows, "method")
    values = np.array([[mean(where(rows, case=case, method=name), "mse") for name in methods] for case in cases])
    text = "Mean squared error of each method (columns) when its assumptions are wrong (rows)."
    return [
        charts.heat_map("Robustness", text, values, ("wrong assumption", cases), ("method", methods), "MSE", log=True)
    ]


def _microscope(run: RunDir, job: Row) -> list[Block]:  # noqa: ARG001
    rows = read_csv(run.path / "microscope.csv")
    labels = {
        "mse": "MSE",
        "inside_mse": "MSE far from the edges",
        "angle": "angle, degrees",
        "mse_z": "MSE of S_z",
        "misfit": "misfit to the picture",
    }
    columns = [name for name in labels if any(row.get(name, "") != "" for row in rows)]
    body: list[list[Cell | str]] = []
    for method in names(rows, "method"):
        own = where(rows, method=method)
        measured = {name: [row for row in own if row[name] != ""] for name in columns}
        found = [f"{mean(measured[name], name):.3g}" if measured[name] else "" for name in columns]
        body.append([method, own[0]["quantity"], *found])
    note = "Means over the pictures. The field is in J, its MSE in J²; the misfit is a root mean square."
    return [Table("Errors", ("method", "quantity", *(labels[name] for name in columns)), body, note)] if rows else []


_KINDS: dict[str, Callable[[RunDir, Row], list[Block]]] = {
    "evaluate-fcn": _estimation,
    "evaluate-sr": _resolution,
    "cross-feeding": _cross_feeding,
    "noise-response": _noise_response,
    "energy-trace": _energy_trace,
    "restoration": _restoration,
    "generation": _generation,
    "external-field": _external_field,
    "reconstruct": _reconstruction,
    "robustness": _robustness,
    "microscope-images": lambda run, job: [],  # noqa: ARG005
    "microscope": _microscope,
}


def _by_step(title: str, text: str, rows: list[Row], estimators: list[str], column: str, label: str) -> Chart:
    lines = {name: mean_curve(where(rows, estimator=name), "step", column) for name in estimators}
    return charts.curves(title, text, lines, ("iteration", label))


def _galleries(folder: Path) -> list[Block]:
    """Return one gallery with a tab for each file of frames."""
    found = [_shown(read_frames(path)) for path in sorted(folder.glob(PATTERN))]
    if not found:
        return []
    tabs = {frames.title: Slides(frames.axis, frames.positions, frames.panels) for frames in found}
    axes = {frames.axis for frames in found if len(frames.positions) > 1}
    text = "The first sample." + (f" The slider changes the {' or the '.join(sorted(axes))}." if axes else "")
    return [Gallery("Gallery", text, tabs)]


def _shown(frames: Frames) -> Frames:
    """Return frames with only the sites that an image shows, since all galleries of a page are in memory at once."""
    panels = {name: spins[:, *every(spins.shape[1:3], DETAILS[0].side)].copy() for name, spins in frames.panels.items()}
    return replace(frames, panels=panels)


def _compared(value: float, form: str, published: PublishedFigure | None, error: float) -> Cell | str:
    """Return a cell with a mean, and with the published value if there is one.

    Args:
        value: the mean.
        form: format of the value.
        published: the published value.
        error: standard error of the mean.
    """
    text = format(value, form)
    return text if published is None else Cell(text, published.compare(value, error), published.text)


def _published_estimation(run: RunDir, job: Row) -> Mapping[str, PublishedFigure]:
    """Return the published results for the dataset of an evaluation; none if the dataset has been moved."""
    path = run.locate(str(job["dataset"])) / "job.toml"
    try:
        table = parse_toml(read_text(path, limit=RECORD_BYTES), str(path))
    except MissingFileError:
        return {}
    return published_estimation(table.get("hamiltonian", {}))
