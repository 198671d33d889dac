"""The table, the picture and the summary of a reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayspin.analysis.figures import draw_resolution
from rayspin.analysis.frames import Frames, write_frames
from rayspin.jobs.reconstruct.case import Case
from rayspin.jobs.reconstruct.ledger import Row
from rayspin.jobs.tables import as_csv, mean
from rayspin.rundir import Summary, write_text
from rayspin.storage import read_shard, shard_name

TABLE, PICTURE = "fields.csv", "reconstruction.png"
SHOWN_FIELDS = 2
"""Number of fields in the picture."""


def conclude(case: Case, rows: list[Row], folder: Path) -> Summary:
    """Write the table of all fields and a picture of the first ones, and return the summary.

    Args:
        case: the inputs of the job.
        rows: figures of each field.
        folder: folder of the run.
    """
    write_text(folder / TABLE, as_csv(rows))
    _draw(case, folder)
    rows_, columns = case.fields.shape
    figures = {
        "fields": f"{len(rows)} of {rows_} x {columns}, x{case.task.scale}",
        "method": case.task.method.method,
        **({"noise": f"{case.learned.noise:.3g}"} if case.learned.noise else {}),
        "misfit of coarse spins": f"{mean(rows, 'misfit'):.3g} rms",
    }
    if "torque" in rows[0]:
        figures["energy per site"] = f"{mean(rows, 'energy'):.5f} J"
        figures["torque"] = f"{mean(rows, 'torque'):.3g} J rms"
    if "predicted_error" in rows[0]:
        figures["predicted MSE"] = f"{mean(rows, 'predicted_error'):.3g}"
        figures["residuals outside the trust model"] = f"{mean(rows, 'extrapolated'):.1%} of the sites"
        doubts = sorted({row["suspect"] for row in rows} - {""})
        figures["assumptions"] = doubts[0] if doubts else "the residuals do not contradict them"
    if "mse" in rows[0]:
        errors = np.array([row["mse"] for row in rows])
        spread = f"median {np.median(errors):.3g}, worst {errors.max():.3g}"
        figures["MSE"] = f"{errors.mean():.3g} +- {errors.std():.1g} ({spread})"
        figures["PSNR"] = f"{mean(rows, 'psnr'):.2f} dB"
        figures["correlation"] = f"{mean(rows, 'correlation'):.6f}"
        figures["angle"] = f"{mean(rows, 'angle'):.3g} degrees"
    return Summary("reconstruction", figures, (PICTURE,), (f"see {folder / TABLE}",))


def _draw(case: Case, folder: Path) -> None:
    """Draw coarse and fine spins and, where they are known, the trust, the truth and the error."""
    values, _ = read_shard(folder / shard_name(int(case.fields.numbers(0, 1)[0])))
    count = min(SHOWN_FIELDS, len(values["spins"]))
    truth_NYXC = case.fields.truth(0, count)
    shown: list[dict[str, Any]] = []
    for n in range(count):
        coarse_YXC = np.nan_to_num(values[f"coarse{case.task.scale}"][n])
        panels = {"coarse": coarse_YXC, case.task.method.method: values["spins"][n]}
        if "trust" in values:
            panels["predicted squared error"] = values["trust"][n]
        if truth_NYXC is not None:
            error_YX = np.square(values["spins"][n] - truth_NYXC[n]).sum(axis=-1)
            panels |= {"truth": truth_NYXC[n], "squared error": error_YX}
        shown.append(panels)
    draw_resolution(shown, folder / PICTURE)
    for n, panels in enumerate(shown):
        spins = {title: values[None] for title, values in panels.items() if values.ndim == 3}
        write_frames(Frames(f"field {n + 1}", "", ("",), spins), folder, f"field-{n + 1}")
