"""The trust models that are part of the package, for the presets of both papers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from rayspin.config import build
from rayspin.inputs import parse_json, read_text
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction.problem import Method, Problem
from rayspin.reconstruction.trust import LONGEST_FILE, TrustModel
from rayspin.rundir import write_text

FILE = Path(__file__).parent / "trust.json"
"""The file of the models; `rayspin.reconstruction.trust_fit.refit_shipped` writes it."""

# A model applies to strengths within this part of its own, or of the exchange times the second number, and to a sigma
# within the third: the relation of residuals to errors changes little within these.
_STRENGTH, _ABSENT, _SIGMA = 0.1, 0.005, 0.1


def shipped_model(method: Method, problem: Problem) -> TrustModel | None:
    """Return the model of the package for a method, or None if there is none.

    Models assume all pixels of one observation of three components, without noise, and the method's default options.
    All need the Hamiltonian: a model that used the misfit alone, fitted to labyrinths and domains together, predicted
    2.4 to 4.2 times the error of labyrinths.

    Args:
        method: the method.
        problem: what was solved, with the Hamiltonian that is known or estimated.
    """
    degradation = problem.operator.degradation
    plain = problem.coarse_NCKYX.shape[1:3] == (3, 1) and problem.known_NKYX is None and problem.variance == 0
    if not plain or not isinstance(degradation, Degradation) or problem.start_NCYX is not None:
        return None
    for model in _models():
        same = model.method == repr(method) and model.scale == problem.operator.scale
        if same and _near_blur(model.degradation, degradation) and _covers(model.hamiltonian, problem.hamiltonian):
            return model
    return None


def write_models(models: Sequence[TrustModel], path: Path = FILE) -> None:
    """Write models as JSON, one a line."""
    write_text(path, "[\n" + ",\n".join(json.dumps(model.to_table()) for model in models) + "\n]\n")
    _models.cache_clear()


@cache
def _models() -> tuple[TrustModel, ...]:
    tables = parse_json(read_text(FILE, limit=LONGEST_FILE), str(FILE))
    return tuple(build(TrustModel, table, f"{FILE}.{index}") for index, table in enumerate(tables))


def _near_blur(model: Degradation, given: Degradation) -> bool:
    return abs(model.sigma - given.sigma) <= _SIGMA and model.with_updates(sigma=given.sigma) == given


def _covers(model: Hamiltonian | None, given: Hamiltonian | None) -> bool:
    """Return whether a model for one Hamiltonian holds for another.

    The unit of energy doesn't matter, nor does the sign of the DMI: its fields are mirror images.
    """
    if (
        model is None
        or given is None
        or not given.exchange > 0
        or any(given.external_field)
        or given.boundary != model.boundary
    ):
        return False
    if (given.dmi and given.dmi_kind != model.dmi_kind) or (given.anisotropy and given.unit_axis[2] ** 2 < 1):
        return False
    own, other = (np.array([abs(h.dmi), h.dipole, h.anisotropy]) / h.exchange for h in (model, given))
    return bool((np.abs(own - other) <= np.maximum(_ABSENT, _STRENGTH * np.abs(own)) + 1e-9).all())
