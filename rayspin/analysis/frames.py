"""Frames: spins of one sample along an axis, such as the iterations of a recursion, that a run keeps for its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.analysis.figures import Floats
from rayspin.errors import InputError
from rayspin.inputs import DAMAGED_ARRAYS
from rayspin.rundir import replacing

PATTERN = "frames-*.npz"
"""Names of the files in the folder of a run."""

MOST_FRAMES = 24
"""Largest number of positions that are kept."""

_LEVELS = 127
"""Components are rounded to multiples of 1 / 127: frames are pictures, not data."""


@dataclass(frozen=True)
class Frames:
    """Panels of spins along an axis.

    Attributes:
        title: name of the panels, such as that of a damage.
        axis: name of the axis, such as "iteration".
        positions: labels of the positions along the axis.
        panels: spins (positions, Y, X, 3) by the title of the panel; the first axis has length 1 for spins that are the
            same at all positions.
    """

    title: str
    axis: str
    positions: Sequence[str]
    panels: Mapping[str, Floats]


def few_frames(last: int) -> list[int]:
    """Return at most `MOST_FRAMES` of the numbers 0 to `last`, the more closely spaced the smaller they are."""
    if last < MOST_FRAMES:
        return list(range(last + 1))
    spaced = np.geomspace(1, last + 1, MOST_FRAMES).round().astype(int) - 1
    return sorted({int(step) for step in spaced})


def write_frames(frames: Frames, folder: Path, name: str) -> None:
    """Write frames to the file `frames-NAME.npz` in the folder of a run.

    Raises:
        MachineError: the file cannot be written.
    """
    about = {
        "title": frames.title,
        "axis": frames.axis,
        "positions": list(frames.positions),
        "panels": list(frames.panels),
    }
    arrays: dict[str, Any] = {
        f"panel{number}": _rounded(np.nan_to_num(spins)) for number, spins in enumerate(frames.panels.values())
    }
    with replacing(folder / PATTERN.replace("*", name)) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, about=np.array(json.dumps(about)), **arrays)


def read_frames(path: Path) -> Frames:
    """Read frames that `write_frames` wrote.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            about = json.loads(str(content["about"]))
            panels = {
                title: content[f"panel{number}"].astype(np.float32) / _LEVELS
                for number, title in enumerate(about["panels"])
            }
        return Frames(about["title"], about["axis"], about["positions"], panels)
    except DAMAGED_ARRAYS as error:
        raise InputError(str(path), f"is not a file of frames ({error})", "run the job again in a new folder") from None


def _rounded(spins: Floats) -> npt.NDArray[np.int8]:
    """Return spins as whole multiples of 1 / 127, after scaling them down together if a component is larger than 1."""
    largest = max(1.0, float(np.abs(spins).max(initial=0)))
    return np.round(spins * (_LEVELS / largest)).astype(np.int8)
