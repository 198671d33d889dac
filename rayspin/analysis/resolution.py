"""Evaluation of super-resolution methods, with the metrics of the tables in the 2023 paper and physical ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.analysis.rows import Row, field_rows
from rayspin.arrays import channel_last
from rayspin.errors import InputError
from rayspin.metrics import (
    PRINTED_PSNR_OFFSET,
    angle_error,
    charge_error,
    correlation,
    energy_error,
    inconsistency,
    mse,
    mse_per_component,
    psnr,
    torque_rms,
    wall_position_error,
)
from rayspin.models import FineNet, apply
from rayspin.physics import Degradation
from rayspin.physics.arguments import vectors, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction import Method, method_of
from rayspin.reconstruction.interpolation import INTERPOLATIONS
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem, component_maps

Spins = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Upsample = Callable[[npt.ArrayLike, int], Spins]
"""A function of coarse spins (..., Y, X, 3) and the scale that returns fine spins (..., scale Y, scale X, 3), float32,
of any length."""

BASELINES = (*INTERPOLATIONS, "fourier")
"""Names of the linear methods that need coarse spins alone, in the order of the tables."""


@dataclass(frozen=True)
class Likeness:
    """Similarity of N samples of estimated spins to the true spins (see `rayspin.metrics`).

    Attributes:
        mse: (N,) mean squared error over sites and components.
        psnr: (N,) peak signal-to-noise ratio by its definition, dB; the published tables print 6.02 dB more.
        correlation: (N,) mean of S . S'.
    """

    mse: Floats
    psnr: Floats
    correlation: Floats


@dataclass(frozen=True)
class Resolution:
    """The metrics of a method.

    Attributes:
        raw: metrics of the method's output.
        normalized: metrics after normalizing each spin to length 1.
        further: further metrics of the normalized spins, (N,) by name: "mse_x", "mse_y", "mse_z"; "angle", the mean in
            degrees; "wall_position" in sites; "charge_error"; "inconsistency"; and under a Hamiltonian "energy_error"
            per site and "torque", the root mean square, both in J.
    """

    raw: Likeness
    normalized: Likeness
    further: Mapping[str, Floats] = field(default_factory=dict)

    def columns(self) -> dict[str, Floats]:
        """Return all metrics, (N,) by name, with the PSNR also as the 2023 paper prints it."""
        columns: dict[str, Floats] = {}
        for kind, likeness in (("raw", self.raw), ("normalized", self.normalized)):
            columns |= {f"{kind}_{metric}": values for metric, values in vars(likeness).items()}
            columns[f"{kind}_psnr_as_printed"] = likeness.psnr + PRINTED_PSNR_OFFSET
        return columns | dict(self.further)


def evaluate_resolution(
    methods: Mapping[str, Upsample],
    fine_NYXC: npt.ArrayLike,
    coarse_NYXC: npt.ArrayLike,
    scale: int,
    *,
    hamiltonian: HamiltonianLike | None = None,
    degradation: Degradation | None = None,
) -> dict[str, Resolution]:
    """Evaluate methods that reconstruct fine spins from coarse ones.

    Args:
        methods: the methods by name.
        fine_NYXC: (N, Y, X, 3) true fine spins.
        coarse_NYXC: (N, Y / scale, X / scale, 3) coarse spins, the input of the methods.
        scale: fine sites per coarse pixel along each axis.
        hamiltonian: the Hamiltonian of the energy and the torque; None omits both.
        degradation: the degradation of the consistency with the input; None selects the published one.

    Returns:
        the metrics by the name of the method.

    Raises:
        InputError: the spins are invalid, or a method doesn't support the scale.
    """
    rows = {}
    for name, method in methods.items():
        estimate = method(coarse_NYXC, scale)
        unit = normalized(estimate)
        x, y, z = mse_per_component(unit, fine_NYXC).T
        further = {
            "mse_x": x,
            "mse_y": y,
            "mse_z": z,
            "angle": np.degrees(angle_error(unit, fine_NYXC)),
            "wall_position": wall_position_error(unit, fine_NYXC),
            "charge_error": charge_error(unit, fine_NYXC),
            "inconsistency": inconsistency(unit, coarse_NYXC, degradation or Degradation()),
        }
        if hamiltonian is not None:
            further["energy_error"] = energy_error(unit, fine_NYXC, hamiltonian)
            further["torque"] = torque_rms(unit, hamiltonian)
        rows[name] = Resolution(likeness(estimate, fine_NYXC), likeness(unit, fine_NYXC), further)
    return rows


def resolution_rows(found: Mapping[str, Resolution], labels: Mapping[str, Any], first: int) -> list[Row]:
    """Return one row for each method and sample, with all metrics.

    Args:
        found: the metrics by the name of the method.
        labels: columns that all rows have.
        first: number of the first sample.
    """
    rows: list[Row] = []
    for method, resolution in found.items():
        numbers = np.arange(first, first + len(resolution.raw.mse))
        rows += field_rows({"sample": numbers, **resolution.columns()}, {**labels, "method": method})
    return rows


STATISTICS = ("mean", "std", "median", "worst")
"""Statistics over the fields of a table: `statistics` returns them in this order."""


def statistics_row(rows: Sequence[Row], labels: Collection[str]) -> Row:
    """Return the labels of rows and the statistics of their metrics, as columns "mse_mean", "mse_std" and so on.

    Args:
        rows: rows of `resolution_rows` with the same labels.
        labels: columns that are labels.
    """
    row: Row = {name: rows[0][name] for name in labels}
    for metric in [name for name in rows[0] if name not in (*labels, "sample")]:
        found = statistics(metric, [each[metric] for each in rows])
        row |= {f"{metric}_{statistic}": value for statistic, value in zip(STATISTICS, found)}
    return row


def statistics(metric: str, values: Sequence[float] | Floats) -> tuple[float, float, float, float]:
    """Return mean, standard deviation, median and worst value of a metric over fields.

    The standard deviation is that of the fields (divided by their number, as in the paper's tables), not of the mean.
    The worst value is the smallest PSNR or correlation, and the largest value of any other metric.

    Args:
        metric: name of the metric, as in `Resolution.columns`.
        values: value of each field.
    """
    found = np.asarray(values, np.float64)
    larger_is_better = "psnr" in metric or "correlation" in metric
    worst = found.min() if larger_is_better else found.max()
    return float(found.mean()), float(found.std()), float(np.median(found)), float(worst)


def by_network(network: FineNet) -> Upsample:
    """Wrap a network as a method, which raises an InputError for any scale but the network's."""

    def method(coarse_YXC: npt.ArrayLike, scale: int) -> Spins:
        if scale != network.config.scale:
            raise InputError("scale", f"the network has scale {network.config.scale}, not {scale}", "use its scale")
        return apply(network, coarse_YXC)

    return method


def by_baseline(baseline: str | Method, degradation: Degradation) -> Upsample:
    """Return a method of reconstruction from coarse spins alone, without normalizing its output.

    Args:
        baseline: the method, such as one of `BASELINES`.
        degradation: the degradation that "fourier" inverts.

    Raises:
        InputError: the name is unknown.
    """
    linear = method_of(baseline)

    def method(coarse_YXC: npt.ArrayLike, scale: int) -> Spins:
        coarse, scale = vectors("coarse", coarse_YXC), whole("scale", scale, 1)
        rows, columns = (scale * pixels for pixels in coarse.shape[-3:-1])
        batch_NCYX = component_maps(coarse.reshape(-1, *coarse.shape[-3:]))
        found = linear.solve(Problem(batch_NCYX[:, :, None], Operator(degradation, (rows, columns), scale)))
        return np.ascontiguousarray(channel_last(found)).reshape(*coarse.shape[:-3], rows, columns, 3)

    return method


def likeness(estimate_NYXC: npt.ArrayLike, truth_NYXC: npt.ArrayLike) -> Likeness:
    """The metrics of each sample.

    Args:
        estimate_NYXC: (N, Y, X, 3) estimated spins.
        truth_NYXC: (N, Y, X, 3) true spins.

    Raises:
        InputError: the arrays are not spins of the same shape.
    """
    return Likeness(
        mse(estimate_NYXC, truth_NYXC),
        psnr(estimate_NYXC, truth_NYXC),
        correlation(estimate_NYXC, truth_NYXC),
    )


def normalized(spins_NYXC: npt.ArrayLike) -> Spins:
    """Normalize spins to length 1, float32; zero vectors stay zero.

    Args:
        spins_NYXC: (..., Y, X, 3) spins.

    Raises:
        InputError: the array doesn't hold vectors.
    """
    spins = vectors("spins", spins_NYXC)
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    unit: Spins = np.divide(spins, length, out=np.zeros_like(spins), where=length > 0).astype(np.float32, copy=False)
    return unit
