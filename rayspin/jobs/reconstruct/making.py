"""Reconstruct the fields of a share in a worker process, and write them as a shard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin import __version__
from rayspin.analysis.rows import field_rows
from rayspin.execution.work_queue import Worker
from rayspin.jobs.reconstruct.case import Case, Places
from rayspin.jobs.reconstruct.ledger import MadeFields, Row, Share
from rayspin.jobs.reconstruct.task import Task
from rayspin.metrics import angle_error, correlation, mse, psnr, torque_rms
from rayspin.physics import energy
from rayspin.reconstruction import Reconstruction
from rayspin.rundir import package_versions
from rayspin.storage import FORMAT, VARIABLES, Derived, ShardWriter, Variable, shard_name

Spins = npt.NDArray[np.float32]

TRUST = Variable("trust", ("sample", "y", "x"), "f4", "1", "predicted squared error of the spins")


class FieldMaker(Worker[Share, MadeFields]):
    """Reconstructs the fields of shares.

    Args:
        task: the task.
        places: files of its inputs.
        folder: folder of the run.
    """

    def __init__(self, task: Task, places: Places, folder: Path) -> None:
        self._case, self._folder = Case.open(task, places, folder), folder

    def work(self, item: Share) -> MadeFields:
        """Reconstruct and write the fields of a share, given as (first position, number of fields)."""
        start = time.perf_counter()
        case, (first, count) = self._case, item
        coarse_NYXC = case.fields.coarse(first, count)
        found = case.reconstruct(coarse_NYXC)
        numbers, hamiltonian = case.fields.numbers(first, count), case.learned.hamiltonian
        energies = np.full(count, np.nan) if hamiltonian is None else energy(found.spins, hamiltonian)
        coarse = Derived(coarse=(case.task.scale,)).variables
        values: dict[str, npt.NDArray[Any]] = {
            "sample": numbers,
            "spins": found.spins,
            "energy": energies,
            "split": np.full(count, case.fields.split, np.int8),
            **dict.fromkeys(coarse, all_components(coarse_NYXC)),
        }
        variables = VARIABLES | coarse
        if _trusted(found):
            values["trust"], variables = found.trust, variables | {"trust": TRUST}
        record = ShardWriter(attributes(case), variables).write(self._folder / shard_name(int(numbers[0])), values)
        rows = self._rows(item, coarse_NYXC, found, energies)
        return MadeFields(record, rows, round(time.perf_counter() - start, 3))

    def _rows(
        self, share: Share, coarse_NYXC: Spins, found: Reconstruction, energies: npt.NDArray[np.float64]
    ) -> list[Row]:
        case, (first, count) = self._case, share
        spins_NYXC = found.spins
        scale, hamiltonian = case.task.scale, case.learned.hamiltonian
        again = case.task.degradation.apply(spins_NYXC, scale)[..., -coarse_NYXC.shape[-1] :]
        figures: dict[str, Any] = {
            "sample": case.fields.numbers(first, count),
            "misfit": np.sqrt(np.square(again - coarse_NYXC, dtype=np.float64).mean(axis=(1, 2, 3))),
        }
        if hamiltonian is not None:
            figures["energy"] = energies
            figures["torque"] = torque_rms(spins_NYXC, hamiltonian)
        if _trusted(found):
            # The value of one component, for comparison with the mean squared error.
            figures["predicted_error"] = found.trust.mean(axis=(1, 2), dtype=np.float64) / 3
            figures["extrapolated"] = found.extrapolated.mean(axis=(1, 2))
            figures["suspect"] = np.full(count, found.suspect or "")
        truth_NYXC = case.fields.truth(first, count)
        if truth_NYXC is not None:
            figures |= {
                "mse": mse(spins_NYXC, truth_NYXC),
                "psnr": psnr(spins_NYXC, truth_NYXC),
                "correlation": correlation(spins_NYXC, truth_NYXC),
                "angle": np.degrees(angle_error(spins_NYXC, truth_NYXC)),
            }
        return field_rows(figures)


def _trusted(found: Reconstruction) -> bool:
    """Return whether there is a trust model for such images; otherwise all values are NaN."""
    return not np.isnan(found.trust).all()


def attributes(case: Case) -> dict[str, str]:
    """Return the global attributes of each shard: everything that its values depend on."""
    return {
        "title": "fine spins, reconstructed from coarse ones",
        "source": f"rayspin {__version__}",
        "format": str(FORMAT),
        "job": json.dumps(case.task.identity()),
        "inputs_sha256": case.digest,
        "versions": package_versions(("numpy", "numba", "netCDF4", "h5py")),
    }


def all_components(coarse_NYXC: Spins) -> Spins:
    """Return coarse spins with three components; those that were not measured are NaN."""
    if coarse_NYXC.shape[-1] == 3:
        return coarse_NYXC
    filled = np.full((*coarse_NYXC.shape[:-1], 3), np.nan, np.float32)
    filled[..., 2:] = coarse_NYXC
    return filled
