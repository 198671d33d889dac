"""Evaluate the effective-field network on held-out samples, and run its recursive process from noise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from rayspin.analysis.estimation import evaluate_estimation, uniform_field
from rayspin.analysis.figures import draw_estimation, draw_fields
from rayspin.analysis.published import FIELD_ENERGY_AGREEMENT, FIELD_MSE
from rayspin.analysis.recursive import recurse
from rayspin.jobs.evaluate.job import SHOWN_FIELDS, Case, Evaluation, Row
from rayspin.jobs.evaluate.recursive import energies_shown, energy_rows, steps_shown
from rayspin.jobs.tables import as_csv
from rayspin.models import FieldNetConfig
from rayspin.physics import LABYRINTH, effective_field, energy
from rayspin.physics.corruption import noisy
from rayspin.rundir import Summary, write_text


class EvaluateFcn(Evaluation):
    """Evaluation of the effective-field network, and its recursive process from noise (2021 paper, Figs. 2b, 3d)."""

    kind: Literal["evaluate-fcn"] = "evaluate-fcn"
    iterations: int = pydantic.Field(default=10, gt=0)
    """Number of iterations of the recursive process."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """Amplitude alpha of the noise at the start of the recursive process: S' = (S + alpha R) / |S + alpha R|."""

    def expects(self) -> type[FieldNetConfig]:
        """Return the config class of effective-field networks."""
        return FieldNetConfig

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return the errors of each component and the energies, one row per sample."""
        estimation = evaluate_estimation(case.network, case.read(first, count), case.reader.hamiltonian)
        return estimation.rows()

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, pictures of some fields as in the 2021 paper, and a picture of one recursive process."""
        write_text(folder / "estimation.csv", as_csv(rows))
        hamiltonian = case.reader.hamiltonian
        shown_NYXC = case.read(0, min(len(rows), SHOWN_FIELDS))
        truth_NYXC = effective_field(shown_NYXC, hamiltonian)
        estimate_NYXC = case.network.field(shown_NYXC)
        draw_fields(truth_NYXC, estimate_NYXC, uniform_field(shown_NYXC, hamiltonian), folder / "fields.png")

        clean_YXC = shown_NYXC[0]
        noisy_NYXC = noisy(clean_YXC, self.noise_amplitude, (self.seed, 0))[None]
        recursion = recurse(case.network, noisy_NYXC, self.iterations, hamiltonian)
        draw_estimation(
            clean_YXC,
            truth_NYXC[0],
            estimate_NYXC[0],
            steps_shown(recursion, f"noise, alpha = {self.noise_amplitude:g}"),
            energies_shown(recursion, clean_YXC, hamiltonian),
            folder / "estimation.png",
        )
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        mse, agreement = columns["mse"], 100 * columns["energy_agreement"]
        published = hamiltonian == LABYRINTH
        return Summary(
            "evaluation",
            {
                "fields": f"{len(rows)} of the split {self.split!r}",
                "MSE": f"{mse.mean():.4g} +- {mse.std():.2g} J^2" + (f" ({FIELD_MSE})" if published else ""),
                "MSE of x, y, z": ", ".join(f"{columns[f'mse_{name}'].mean():.4g}" for name in "xyz") + " J^2",
                "energy agreement": f"{agreement.mean():.2f} +- {agreement.std():.2g} %"
                + (f" ({FIELD_ENERGY_AGREEMENT})" if published else ""),
                "angle of F* to F": f"{np.degrees(columns['angle'].mean()):.2f} degrees",
                **energy_rows(recursion.energies_IN.mean(axis=1), float(energy(clean_YXC, hamiltonian))),
            },
            ("estimation.png", "fields.png"),
            ("to train with more data and epochs: rayspin run jobs/train_fcn.toml",),
        )
