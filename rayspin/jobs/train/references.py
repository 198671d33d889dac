"""Weights that a job file names: a file, a training, a stage of the same pipeline, or a network of the package."""

from __future__ import annotations

from pathlib import Path

from rayspin.models import pretrained_file
from rayspin.rundir import RunDir
from rayspin.training import BEST

_PRETRAINED = "pretrained:"


def weights_file(reference: str, run: RunDir) -> Path:
    """Return the weights file that a reference means.

    Args:
        reference: path of a file, or of a folder of a training, of which the best epoch is used; `@name` for a stage;
            or `pretrained:NAME`.
        run: folder of the job, from which `@name` is resolved.

    Raises:
        InputError: the path is not valid, or no network of the package has this name.
    """
    if reference.startswith(_PRETRAINED):
        return pretrained_file(reference.removeprefix(_PRETRAINED))
    path = run.locate(reference)
    return path / BEST if path.is_dir() else path
