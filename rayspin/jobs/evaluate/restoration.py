"""Restore damaged spins by the recursive process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic

from rayspin.analysis.figures import Panel, draw_experiment
from rayspin.analysis.frames import Frames, few_frames, write_frames
from rayspin.analysis.restoration import Damage, damaged, restoration_rows
from rayspin.analysis.trajectory import Trajectory
from rayspin.analysis.twins import Twin
from rayspin.errors import InputError
from rayspin.jobs.evaluate.experiment import Experiment, listed
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.network import Case
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.rundir import Summary, write_text

ONE_COMPONENT: Damage = "out-of-plane"


class Restoration(Experiment):
    """Restoration of noisy and defective spins and of spins of one component (2021 paper, Figs. 3d, 3e and 4a)."""

    kind: Literal["restoration"] = "restoration"
    damages: tuple[Damage, ...] = pydantic.Field(
        default=("noise", "defect-rows", "defect-square", ONE_COMPONENT), min_length=1
    )
    """Damages of the samples: noise at every site, random spins in the middle rows, no spins in a square in the middle,
    or S_z only."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """Amplitude alpha of the noise: S' = (S + alpha R) / |S + alpha R|."""
    defect_width: int = pydantic.Field(default=32, gt=0)
    """Number of rows ("defect-rows") or side of the square ("defect-square")."""
    steps: tuple[Annotated[int, pydantic.Field(gt=0)], ...] = pydantic.Field(default=(1, 10), min_length=1)
    """Iterations in the summary; the largest one is the last iteration. The table has all iterations."""

    def check_network(self, network: Any, shape: tuple[int, int]) -> None:
        """Also check that the defect fits the lattice.

        Args:
            network: config of the network.
            shape: (rows, columns) of the lattice.

        Raises:
            InputError: the network or the defect does not fit the lattice.
        """
        super().check_network(network, shape)
        if self.defect_width > min(shape) and {"defect-rows", "defect-square"} & set(self.damages):
            problem = f"a defect of {self.defect_width} sites does not fit {shape[0]} x {shape[1]} sites"
            raise InputError("defect_width", problem, f"give at most {min(shape)}")

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """One part: one of the damages."""
        return [(self.with_updates(damages=self.damages[:1]), samples * len(self.damages))]

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return one row for each damage, sample, estimator and iteration."""
        clean_NYXC = case.read(first, count)
        return [
            row
            for damage in self.damages
            for estimator in self.estimators
            for row in restoration_rows(
                self._restored(case, clean_NYXC, damage, estimator, first),
                estimator,
                damage,
                clean_NYXC,
                case.hamiltonian,
                first,
            )
        ]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, and a picture of the first sample with each damage."""
        write_text(folder / "restoration.csv", as_csv(rows))
        self._draw(case, rows, folder)
        steps = ", ".join(map(str, self.steps))
        figures = {"samples": str(len({row["sample"] for row in rows})), "iterations": steps}
        for damage in self.damages:
            for estimator in self.estimators:
                figures[f"{damage}, {estimator}"] = self._row(where(rows, damage=damage, estimator=estimator), damage)
        return Summary("restoration", figures, ("restoration.png",))

    def _row(self, rows: list[Row], damage: Damage) -> str:
        at = [where(rows, step=step) for step in self.steps]
        if damage == ONE_COMPONENT:
            correlations = ["/".join(f"{mean(rows, f'correlation_{name}'):.3f}" for name in "xyz") for rows in at]
            return f"correlation of x/y/z {', '.join(correlations)}"
        above = [mean(rows, "energy") - mean(rows, "annealed") for rows in at]
        overlaps = listed([mean(rows, "overlap_reference") for rows in at], ".3f")
        return f"overlap {overlaps}; energy above the annealed {listed(above, '.4f')} J"

    def _damaged(self, clean_NYXC: Spins, damage: Damage, first: int) -> Spins:
        return damaged(
            clean_NYXC,
            damage,
            noise_amplitude=self.noise_amplitude,
            defect_width=self.defect_width,
            seed=self.seed,
            first=first,
        )

    def _restored(self, case: Case, clean_NYXC: Spins, damage: Damage, estimator: Twin, first: int) -> Trajectory:
        start_NYXC, last = self._damaged(clean_NYXC, damage, first), max(self.steps)
        return self.follow(estimator, case, start_NYXC, last, first=first, reference=clean_NYXC, frames=range(last + 1))

    def _draw(self, case: Case, rows: list[Row], folder: Path) -> None:
        clean_NYXC, last = case.read(0, 1), max(self.steps)
        kept = few_frames(last)
        pictures, panels = [], []
        for damage in self.damages:
            damaged_YXC = self._damaged(clean_NYXC, damage, 0)[0]
            # S_z alone is drawn in gray.
            components = slice(2, 3) if damage == ONE_COMPONENT else slice(None)
            shown = [("sample", clean_NYXC[0]), (damage, damaged_YXC[..., components])]
            frames = {"sample": clean_NYXC}
            for estimator in self.estimators:
                restored = self._restored(case, clean_NYXC, damage, estimator, 0)
                shown.append((f"{estimator}, iteration {last}", restored.last[0]))
                frames[estimator] = np.stack([restored.frames[step][0] for step in kept])
            write_frames(Frames(damage, "iteration", list(map(str, kept)), frames), folder, damage)
            pictures.append(shown)
            steps = list(range(last + 1))
            curves: dict[str, tuple[list[int], list[float]]] = {
                estimator: (steps, [mean(where(own, step=step), "energy") for step in steps])
                for estimator in self.estimators
                for own in [where(rows, damage=damage, estimator=estimator)]
            }
            curves["annealed"] = (steps, [mean(rows, "annealed")] * len(steps))
            panels.append(Panel(curves, "iteration", "energy per site (J)", title=f"energy, {damage}"))
        draw_experiment(pictures, panels, folder / "restoration.png")
