"""Apply an external field in the recursive process, in exact descent, and in Monte Carlo cooled in the field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pydantic

from rayspin.analysis.field_response import cooled_in_the_field, in_the_field, response_rows
from rayspin.analysis.figures import Floats, Panel, draw_experiment
from rayspin.analysis.frames import Frames, write_frames
from rayspin.analysis.generation import random_map
from rayspin.analysis.trajectory import Trajectory
from rayspin.analysis.twins import Twin
from rayspin.jobs.evaluate.experiment import BRIEF, Experiment, listed
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.network import Case
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.physics import LABYRINTH_SCHEDULE, AnnealSchedule
from rayspin.rundir import Summary, write_text

MONTE_CARLO: Literal["monte-carlo"] = "monte-carlo"
"""Name of the annealing in the field among the estimators."""

SHOWN_FIELDS = 6
"""Largest number of fields in the picture."""


class ExternalField(Experiment):
    """Response to an external field along z in the recursive process (2021 paper, Fig. 6).

    All fields use one protocol: from the start, `first` iterations in the fraction `first_field` of the field, then
    `iterations` along the network's output plus the field plus `isotropic` S.
    """

    kind: Literal["external-field"] = "external-field"
    share_samples: ClassVar[int] = 1
    fields: tuple[Annotated[float, pydantic.Field(ge=-10, le=10)], ...] = pydantic.Field(
        default=tuple(step / 100 for step in range(13)), min_length=1
    )
    """External fields along z, J."""
    start: Literal["labyrinth", "random", "cooled"] = "random"
    """Initial spins: a sample of the dataset ("labyrinth"), a random map, or a texture that was cooled in the field by
    Monte Carlo ("cooled"), which an exact process would keep."""
    first: int = pydantic.Field(default=1, ge=0)
    """Number of iterations before the whole field is applied, without the isotropic part."""
    first_field: float = pydantic.Field(default=0.3, ge=0, le=1)
    """Fraction of the field in these iterations."""
    iterations: int = pydantic.Field(default=100, gt=0)
    """Number of iterations in the field."""
    isotropic: float = 0.6
    """Coefficient c of the isotropic part c S that is added to the output of the network in the field, J. It exerts no
    torque; it slows the alignment."""
    every: int = pydantic.Field(default=20, gt=0)
    """Number of iterations between the recorded ones."""
    descent_sweeps: int = pydantic.Field(default=1000, gt=0)
    """Number of sweeps of the descent in the field."""
    monte_carlo_samples: int = pydantic.Field(default=4, ge=0)
    """Number of samples that are also annealed in each field by Monte Carlo, from random spins."""
    schedule: AnnealSchedule = LABYRINTH_SCHEDULE
    """Schedule of this annealing, with `quench_sweeps`."""
    skyrmion_sites: tuple[Annotated[int, pydantic.Field(gt=0)], int] = (8, 300)
    """Least and largest number of sites of a domain against the mean S_z that counts as a skyrmion."""

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """Two parts: some of the iterations in one field, from random spins, and Monte Carlo in one field."""
        fields, brief = len(self.fields), min(self.iterations, BRIEF)
        sweeps = max(1, self.descent_sweeps * brief // self.iterations)
        one = {"fields": self.fields[:1], "start": "random", "iterations": brief, "every": min(self.every, brief)}
        process = self.with_updates(**one, descent_sweeps=sweeps, monte_carlo_samples=0)
        cooled = self.with_updates(
            **one | {"iterations": 1, "every": 1}, estimators=("network",), monte_carlo_samples=1
        )
        times = min(samples, self.monte_carlo_samples) + (samples if self.start == "cooled" else 0)
        return [(process, samples * fields * self.iterations / brief), *([(cooled, times * fields)] if times else [])]

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return one row for each field, sample, estimator and recorded step."""
        rows: list[Row] = []
        for sample in range(first, first + count):
            names = (*self.estimators, *([MONTE_CARLO] if sample < self.monte_carlo_samples else []))
            for field in self.fields:
                start_NYXC = self._start(case, field, sample)
                for name in names:
                    trajectory = self._run(case, name, field, sample, start_NYXC)
                    rows += response_rows(trajectory, name, field, sample, self.skyrmion_sites)
        return rows

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, and a picture of the first sample in some fields with the curves of all."""
        write_text(folder / "external_field.csv", as_csv(rows))
        names = [name for name in (*self.estimators, MONTE_CARLO) if where(rows, estimator=name)]
        places = np.linspace(0, len(self.fields) - 1, min(len(self.fields), SHOWN_FIELDS)).round().astype(int)
        shown = [sorted(self.fields)[place] for place in dict.fromkeys(places.tolist())]
        starts = {field: self._start(case, field, 0) for field in shown}
        pictures = [
            [(f"{name}, $H$ = {field:g} J", self._run(case, name, field, 0, starts[field]).last[0]) for field in shown]
            for name in names
        ]
        panels_of: dict[str, Floats] = {
            name: np.stack([spins for _, spins in row]) for name, row in zip(names, pictures)
        }
        write_frames(
            Frames("spins", "external field (J)", [f"{field:g}" for field in shown], panels_of), folder, "fields"
        )
        last = {name: _last(where(rows, estimator=name)) for name in names}
        fields = sorted(self.fields)
        means = {
            (name, column): [mean(where(last[name], field=field), column) for field in fields]
            for name in names
            for column in ("m_z", "charge", "skyrmions")
        }
        labels = {
            "m_z": ("mean $S_z$", "magnetization"),
            "charge": ("topological charge", "topological charge"),
            "skyrmions": ("skyrmions", "number of skyrmions"),
        }
        panels = [
            Panel({name: (fields, means[name, column]) for name in names}, "external field (J)", label, title=title)
            for column, (label, title) in labels.items()
        ]
        draw_experiment(pictures, panels, folder / "external_field.png")
        figures = {
            "start": f"{self.start}, {self.first} iterations in {self.first_field:g} of the field",
            "H": listed(fields, "g"),
        }
        figures |= {f"M_z, {name}": listed(means[name, "m_z"], ".3f") for name in names}
        figures |= {f"skyrmions, {name}": listed(means[name, "skyrmions"], ".0f") for name in names}
        return Summary("external field", figures, ("external_field.png",))

    def _run(
        self, case: Case, name: Twin | Literal["monte-carlo"], field: float, sample: int, start_NYXC: Spins
    ) -> Trajectory:
        if name == MONTE_CARLO:
            return self._cooled(case, field, sample)
        iterations = self.descent_sweeps if name == "descent" else self.iterations
        return in_the_field(
            name,
            case.network,
            start_NYXC,
            case.hamiltonian,
            field,
            first=self.first,
            first_field=self.first_field,
            iterations=iterations,
            isotropic=self.isotropic,
            every=self.every * iterations // self.iterations,
        )

    def _start(self, case: Case, field: float, sample: int) -> Spins:
        if self.start == "labyrinth":
            return case.read(sample, 1)
        if self.start == "cooled":
            return self._cooled(case, field, sample).last
        return random_map(case.reader.shape, (self.seed, sample))[None]

    def _cooled(self, case: Case, field: float, sample: int) -> Trajectory:
        return cooled_in_the_field(case.reader.shape, case.hamiltonian, field, self.schedule, (self.seed, sample))


def _last(rows: list[Row]) -> list[Row]:
    """Return the rows of the last step."""
    return where(rows, step=max(row["step"] for row in rows))
