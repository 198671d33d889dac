"""Errors of methods of reconstruction under wrong assumptions about the blur, the values or the Hamiltonian."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rayspin.analysis.rows import Row, field_rows
from rayspin.metrics import inconsistency, mse, torque_rms
from rayspin.physics import Degradation, Hamiltonian, Microscope
from rayspin.reconstruction import AssumptionWarning, Method, calibrate, learned_spectrum, reconstruct_apart

Spins: TypeAlias = npt.NDArray[np.float32]

RIGHT = "right assumptions"
"""Name of the case whose assumptions are right."""

_ASSUMED = Degradation()
_CALIBRATED_FROM = 8
"""Number of images that a calibration uses."""
_TERMS = ("dmi", "dipole", "anisotropy")


@dataclass(frozen=True)
class Case:
    """A wrong assumption: a microscope that makes images, and the assumptions of the methods about them.

    Attributes:
        name: name of the wrong assumption.
        microscope: microscope that makes the images.
        hamiltonian: the Hamiltonian that the methods assume. They always assume the published degradation, values
            between -1 and 1, and no noise.
    """

    name: str
    microscope: Microscope
    hamiltonian: Hamiltonian


def wrong_assumptions(hamiltonian: Hamiltonian) -> tuple[Case, ...]:
    """Return the cases of a table of robustness; the first one has right assumptions.

    Args:
        hamiltonian: the true Hamiltonian. Each of its terms of DMI, dipole and anisotropy is assumed 10 % too strong,
            and its DMI with the wrong sign.
    """
    microscopes = {
        RIGHT: Microscope(),
        "blur 20 % wider": Microscope(degradation=Degradation(sigma=1.2)),
        "blur 20 % narrower": Microscope(degradation=Degradation(sigma=0.8)),
        "elliptical blur, 1.44 to 1": Microscope(aspect=1.44),
        "box blur": Microscope(blur="box"),
        "gain 1.1, offset 0.05 of S_z": Microscope(gain=(1.0, 1.0, 1.1), offset=(0.0, 0.0, 0.05)),
        "background 0.05 x": Microscope(background=(0.05,)),
        "illumination 1 + 0.1 x": Microscope(illumination=(0.1, 0.0)),
        "shot noise, 10000 counts": Microscope(counts=1e4),
        "shot noise, 1000 counts": Microscope(counts=1e3),
    }
    cases = [Case(name, microscope, hamiltonian) for name, microscope in microscopes.items()]
    for term in _TERMS:
        if strength := getattr(hamiltonian, term):
            wrong = hamiltonian.with_updates(**{term: 1.1 * strength})
            cases.append(Case(f"{term} 10 % too strong", Microscope(), wrong))
    if hamiltonian.dmi:
        cases.append(Case("dmi of the wrong sign", Microscope(), hamiltonian.with_updates(dmi=-hamiltonian.dmi)))
    return tuple(cases)


Approach: TypeAlias = Callable[[Spins, int, Hamiltonian], Spins]
"""A function of coarse spins (N, Y / scale, X / scale, 3), the scale and a Hamiltonian that returns fine spins."""


def by_method(method: str | Method, degradation: Degradation = _ASSUMED) -> Approach:
    """Return the approach of a method that assumes a degradation and learns from all images together.

    Args:
        method: the method.
        degradation: the degradation that it assumes.
    """

    def approach(coarse_NYXC: Spins, scale: int, hamiltonian: Hamiltonian) -> Spins:
        known: dict[str, Any] = {"degradation": degradation, "hamiltonian": hamiltonian, "any_length": True}
        spectrum = learned_spectrum(coarse_NYXC, scale, method, **known)
        # The warnings are expected, because the assumptions are wrong.
        with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
            return reconstruct_apart(coarse_NYXC, scale, method, spectrum=spectrum, **known).spins

    return approach


def calibrated(method: str | Method) -> Approach:
    """Return the approach that first estimates blur, gain and offset from the images; see `calibrate`.

    Args:
        method: the method that is applied to the corrected images.
    """

    def approach(coarse_NYXC: Spins, scale: int, hamiltonian: Hamiltonian) -> Spins:
        calibration = calibrate(coarse_NYXC[:_CALIBRATED_FROM], scale, hamiltonian, degradation=_ASSUMED)
        return by_method(method, calibration.degradation)(calibration.corrected(coarse_NYXC), scale, hamiltonian)

    return approach


def robustness_rows(
    case: Case, approaches: Mapping[str, Approach], fine_NYXC: Spins, scale: int, seed: int
) -> list[Row]:
    """Return the errors of approaches in a case, one row for each approach and field.

    A row has the mean squared error ("mse") and two quantities that do not need the truth: the root mean square over
    sites of the torque under the assumed Hamiltonian ("torque", J), and of the difference between the image and the
    degraded result, for each component ("misfit").

    Args:
        case: the wrong assumption.
        approaches: approaches by the names of the rows.
        fine_NYXC: true spins, (N, Y, X, 3).
        scale: fine sites per coarse pixel along each axis.
        seed: root seed of the noise; field n uses the stream (seed, n).
    """
    images = [case.microscope.image(spins_YXC, scale, (seed, n)) for n, spins_YXC in enumerate(fine_NYXC)]
    coarse_NYXC = np.stack(images)
    rows: list[Row] = []
    for name, approach in approaches.items():
        spins_NYXC = approach(coarse_NYXC, scale, case.hamiltonian)
        columns = {
            "field": np.arange(len(fine_NYXC)),
            "mse": mse(spins_NYXC, fine_NYXC),
            "torque": torque_rms(spins_NYXC, case.hamiltonian),
            "misfit": np.sqrt(inconsistency(spins_NYXC, coarse_NYXC, _ASSUMED)),
        }
        rows += field_rows(columns, {"case": case.name, "method": name})
    return rows


def means(rows: Sequence[Row], column: str = "mse") -> dict[str, dict[str, float]]:
    """Return the means over fields of a column of `robustness_rows`, by case and method."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["case"], {}).setdefault(row["method"], []).append(row[column])
    return {
        case: {method: float(np.mean(values)) for method, values in by_method.items()}
        for case, by_method in found.items()
    }
