"""Evaluate a field network and the trivial estimate on held-out samples, and the recursive process from noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from rayspin.analysis.estimation import best_isotropic, evaluate_estimation, evaluate_isotropic, uniform_field
from rayspin.analysis.figures import draw_estimation, draw_fields
from rayspin.analysis.frames import Frames, few_frames, write_frames
from rayspin.analysis.published import published_estimation
from rayspin.analysis.recursive import recurse
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.network import Case, NetworkEvaluation
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.models import FieldNetConfig
from rayspin.physics import effective_field, energy
from rayspin.physics.corruption import noisy
from rayspin.rundir import Summary, write_text

SHOWN_FIELDS = 2
"""Number of samples in the picture of the fields."""

SHOWN_ITERATIONS = (0, 1, 3)
"""Iterations shown in the picture of a recursive process, in addition to the last one."""

NETWORK, TRIVIAL = "network", "trivial"
"""Names of the estimators: the network, and F* = c S with the best c of all samples."""


class EvaluateFcn(NetworkEvaluation):
    """Evaluation of a field network and of F* = c S, and the recursive process from noise (2021 paper, Figs. 2, 3d)."""

    kind: Literal["evaluate-fcn"] = "evaluate-fcn"
    iterations: int = pydantic.Field(default=10, gt=0)
    """Number of iterations of the recursive process."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """Amplitude alpha of the noise at the start of the recursive process: S' = (S + alpha R) / |S + alpha R|."""

    def expects(self) -> type[FieldNetConfig]:
        """Return the config class of effective-field networks."""
        return FieldNetConfig

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return the errors of each component, the energies and the best c of F* = c S, one row per sample."""
        spins_NYXC = case.read(first, count)
        rows = evaluate_estimation(case.network, spins_NYXC, case.hamiltonian).rows()
        best = best_isotropic(spins_NYXC, case.hamiltonian)
        return [_row(first + n, NETWORK, row, best[n]) for n, row in enumerate(rows)]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, pictures of some fields as in the 2021 paper, and a picture of one recursive process."""
        best = mean(rows, "best_isotropic")
        rows = rows + self._trivial(case, rows, best)
        write_text(folder / "estimation.csv", as_csv(rows))
        recursion = self._draw(case, len(where(rows, estimator=NETWORK)), best, folder)
        network, trivial = where(rows, estimator=NETWORK), where(rows, estimator=TRIVIAL)
        published = published_estimation(case.hamiltonian)

        def compared(column: str, form: str, unit: str = "") -> str:
            ours, theirs = (format(mean(table, column), form) + unit for table in (network, trivial))
            reference = f"; published: {published[column].text}" if column in published else ""
            return f"{ours} (F* = {best:.3f} S: {theirs}{reference})"

        return Summary(
            "evaluation",
            {
                "fields": f"{len(network)} of the split {self.split!r}",
                "MSE": compared("mse", ".4g", " J^2"),
                "MSE of x, y, z": ", ".join(f"{mean(network, f'mse_{name}'):.4g}" for name in "xyz") + " J^2",
                "MSE over <f^2>": compared("mse_relative", ".3g"),
                "energy agreement": compared("energy_agreement", ".4%"),
                "correlation of F* - c S with F - c S": compared("correlation", ".4f"),
                "angle of F* to F": f"{np.degrees(mean(network, 'angle')):.2f} degrees",
                "energy after noise": recursion,
            },
            ("estimation.png", "fields.png"),
            ("to train with more data and epochs: rayspin run jobs/train_fcn.toml",),
        )

    def _trivial(self, case: Case, rows: list[Row], best: float) -> list[Row]:
        """Return the rows of F* = c S with the best c of all samples."""
        found: list[Row] = []
        for first in range(0, len(rows), self.share_samples):
            spins_NYXC = case.read(first, min(self.share_samples, len(rows) - first))
            figures = evaluate_isotropic(best, spins_NYXC, case.hamiltonian).rows()
            found += [_row(first + n, TRIVIAL, row, best) for n, row in enumerate(figures)]
        return found

    def _draw(self, case: Case, count: int, best: float, folder: Path) -> str:
        """Draw the pictures, and return the energies of the recursive process that is shown."""
        hamiltonian = case.hamiltonian
        shown_NYXC = case.read(0, min(count, SHOWN_FIELDS))
        truth_NYXC, estimate_NYXC = effective_field(shown_NYXC, hamiltonian), case.network.field(shown_NYXC)
        estimates = {NETWORK: estimate_NYXC, f"$F^*$ = {best:.3f} $S$": np.float32(best) * shown_NYXC}
        draw_fields(truth_NYXC, estimates, uniform_field(shown_NYXC, hamiltonian), folder / "fields.png")
        clean_YXC = shown_NYXC[0]
        noisy_YXC = noisy(clean_YXC, self.noise_amplitude, (self.seed, 0))
        shown = {step for step in SHOWN_ITERATIONS if step < self.iterations} | {self.iterations}
        kept = sorted(shown | set(few_frames(self.iterations)))
        run = recurse(noisy_YXC, case.network, self.iterations, hamiltonian=hamiltonian, frames=kept)
        panels = {
            "recursive process": np.stack([run.frames[step] for step in kept]),
            "annealed sample": clean_YXC[None],
        }
        write_frames(Frames("recursive process", "iteration", list(map(str, kept)), panels), folder, "recursion")
        annealed = float(energy(clean_YXC, hamiltonian))
        titles = {0: rf"noise, $\alpha$ = {self.noise_amplitude:g}"}
        draw_estimation(
            clean_YXC,
            truth_NYXC[0],
            estimate_NYXC[0],
            [(titles.get(step, f"iteration {step}"), run.frames[step]) for step in sorted(shown)],
            {"recursive process": run.energy_IN.tolist(), "annealed sample": [annealed] * len(run.steps)},
            folder / "estimation.png",
        )
        energies = f"{run.energy_IN[0]:.4f} to {run.energy_IN[-1]:.4f} J in {self.iterations} iterations"
        return f"{energies} (annealed {annealed:.4f} J)"


def _row(sample: int, estimator: str, figures: dict[str, float], best: float) -> dict[str, Any]:
    return {"sample": sample, "estimator": estimator, **figures, "best_isotropic": float(best)}
