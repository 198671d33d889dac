"""Trace the energy and the topology of annealed spins through many iterations of the recursive process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pydantic

from rayspin.analysis.energy_trace import peaks_of_change, topology_changes
from rayspin.analysis.figures import Panel, draw_experiment
from rayspin.analysis.frames import Frames, write_frames
from rayspin.analysis.twins import Twin
from rayspin.jobs.evaluate.experiment import BRIEF, Experiment
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.network import Case
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.rundir import Summary, write_text


class EnergyTrace(Experiment):
    """Energy and topology of annealed spins during the recursive process (2021 paper, Figs. 3b and 3c)."""

    kind: Literal["energy-trace"] = "energy-trace"
    share_samples: ClassVar[int] = 2
    estimators: tuple[Twin, ...] = pydantic.Field(default=("network", "exact"), min_length=1)
    """As in the other experiments."""
    iterations: int = pydantic.Field(default=200, gt=0)
    """Number of iterations."""
    pictures: int = pydantic.Field(default=6, gt=0, le=12)
    """Number of pictures, at the fastest changes of the energy of the first sample."""

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """One part: some of the iterations."""
        brief = min(self.iterations, BRIEF)
        return [(self.with_updates(iterations=brief), samples * self.iterations / brief)]

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return one row for each sample, estimator and iteration; "charge_change" is the change of the charge."""
        rows: list[Row] = []
        for estimator in self.estimators:
            trajectory = self.follow(estimator, case, case.read(first, count), self.iterations)
            changes = [[0, *topology_changes(charges)] for charges in trajectory.charge_IN.T]
            for row in trajectory.rows(estimator, first):
                change = changes[int(row["sample"]) - first][int(row["step"])]
                rows.append({**row, "charge_change": int(change)})
        return rows

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, and a picture of the first sample at the fastest changes of its energy."""
        write_text(folder / "energy_trace.csv", as_csv(rows))
        self._draw(case, folder)
        figures = {"start": f"{mean(where(rows, step=0), 'energy'):.5f} J"}
        for estimator in self.estimators:
            own = where(rows, estimator=estimator)
            samples = len(where(own, step=0))
            changes = sum(row["charge_change"] != 0 for row in own) / samples
            last = mean(where(own, step=self.iterations), "energy")
            figures[estimator] = f"{last:.5f} J after {self.iterations}, {changes:.1f} changes of the charge a sample"
        return Summary("energy trace", figures, ("energy_trace.png",))

    def _draw(self, case: Case, folder: Path) -> None:
        """Draw the first sample; its first estimator is run twice, since the peaks are known only afterwards."""
        start_NYXC, shown = case.read(0, 1), self.estimators[0]
        runs = {name: self.follow(name, case, start_NYXC, self.iterations) for name in self.estimators}
        energies = runs[shown].energy_IN[:, 0]
        peaks = peaks_of_change(energies, self.pictures, max(1, self.iterations // 20))
        frames = self.follow(shown, case, start_NYXC, self.iterations, record=self.iterations, frames=peaks).frames
        steps = list(range(self.iterations + 1))
        changes: dict[str, tuple[list[int], list[float]]] = {shown: (steps[1:], np.abs(np.diff(energies)).tolist())}
        curves: dict[str, dict[str, tuple[list[int], list[float]]]] = {
            "energy per site (J)": {name: (steps, run.energy_IN[:, 0].tolist()) for name, run in runs.items()},
            "|change of energy| (J)": changes,
            # Round it: otherwise rounding errors would fill the axis if the charge is constant.
            "topological charge": {name: (steps, run.charge_IN[:, 0].round(6).tolist()) for name, run in runs.items()},
        }
        named = zip(("energy", f"change of energy, {shown}", "topological charge"), curves.items())
        panels = [Panel(found, "iteration", label, peaks, title=title) for title, (label, found) in named]
        pictures = [(f"iteration {step}", frames[step][0]) for step in peaks]
        draw_experiment([pictures], panels, folder / "energy_trace.png")
        kept = sorted(frames)
        stacked = {shown: np.stack([frames[step][0] for step in kept]), "start": start_NYXC}
        title = "at the fastest changes of the energy"
        write_frames(Frames(title, "iteration", list(map(str, kept)), stacked), folder, "trace")
