"""Jobs of kind "robustness": methods of reconstruction under wrong assumptions, on fields whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from rayspin.analysis.figures import draw_heat_map
from rayspin.analysis.robustness import (
    RIGHT,
    Approach,
    Case,
    by_method,
    calibrated,
    means,
    robustness_rows,
    wrong_assumptions,
)
from rayspin.analysis.rows import Row
from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.execution.dispatcher import dispatch
from rayspin.execution.work_queue import Worker
from rayspin.jobs.generate.facts import DatasetStage
from rayspin.jobs.methods import LabelledChoice, LabelledChoices
from rayspin.jobs.stage import Context, Plan, Stage, check_finished
from rayspin.jobs.stand_in import seconds_of
from rayspin.jobs.tables import as_csv
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction import NETWORK
from rayspin.rundir import RunDir, Summary, Table, append_lines, read_entries, write_text
from rayspin.storage import Split

NAME, TABLE, PICTURE = "cases.jsonl", "robustness.csv", "robustness.png"
CALIBRATED = "calibrated map"
"""Name of "map" after a calibration in tables."""
_UNUSABLE = (NETWORK, "wiener")


class Robustness(DatasetStage):
    """Errors of methods of reconstruction when the blur, the scale of values or the Hamiltonian is not as assumed.

    Every method assumes the published degradation, no noise, and the Hamiltonian of the dataset, in some cases with a
    wrong strength. A method that learns from coarse fields learns from all of them.
    """

    kind: Literal["robustness"] = "robustness"
    scale: int = pydantic.Field(default=8, gt=1, le=64)
    """Fine sites per coarse pixel along each axis."""
    methods: LabelledChoices = pydantic.Field(
        default=tuple(LabelledChoice(method=name) for name in ("projections", "wiener-em", "map")), min_length=1
    )
    """Methods of reconstruction: names, or tables such as { method = "map", options = { weight = 20 } }."""
    calibrate: bool = True
    """Also apply "map" after a calibration: blur, gain and offset are estimated from the images."""
    cases: tuple[str, ...] | None = None
    """Names of the cases; default: all that apply to the Hamiltonian."""
    split: Split = "test"
    """Split of the dataset."""
    samples: int = pydantic.Field(default=24, gt=0)
    """Number of samples, counted from the first of the split."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise. The i-th sample of the split uses the random stream (seed, i)."""

    @pydantic.model_validator(mode="after")
    def _usable_methods(self) -> Robustness:
        names = [choice.name for choice in self.methods]
        for choice in self.methods:
            if choice.method in _UNUSABLE:
                raise InputError("methods", f"{choice.method!r} can't be used here", "give another method")
            if names.count(choice.name) > 1:
                raise InputError("methods", f"{choice.name!r} occurs twice", "give each method a label of its own")
        return self

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that the dataset exists or is made by an earlier stage, and that it has the samples."""
        run.check_same(self.identity_in(run), self.may_change)
        facts = self.facts(run, earlier)
        facts.check_samples(self.split, self.samples)
        Degradation().check_inverse(facts.shape, self.scale)
        (hamiltonian,) = facts.hamiltonians
        self.chosen(hamiltonian)

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining cases and their cost, measured by one case of a stand-in of one field."""
        facts = self.facts(run, earlier)
        (hamiltonian,) = facts.hamiltonians
        cases = self.chosen(hamiltonian)
        names = [case.name for case in cases]
        left = len(names)
        if self.done(run) is not None:
            left = 0
        elif (run.path / NAME).exists():
            reader = self.open_dataset(run.locate(self.dataset)).reader(self.split)
            left -= len(self._measured(run, names, reader.digest))
        seconds = 0.0
        if left:
            fine_NYXC, approaches = facts.stand_in(self.split).read([0]), self.approaches()
            each = seconds_of(lambda: robustness_rows(cases[0], approaches, fine_NYXC, self.scale, self.seed))
            seconds = left * self.samples * each
        figures = {
            "cases": f"{len(cases)}, {len(cases) - left} done",
            "methods": ", ".join(choice.name for choice in self.methods),
            "fields": str(self.samples),
        }
        return Plan(self.kind, figures, seconds, pieces=left)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Measure the cases that are missing, one on each core of the session."""
        folder = run.locate(self.dataset).resolve()
        reader = self.open_dataset(folder).reader(self.split)
        names, digest = [case.name for case in self.chosen(reader.hamiltonian)], reader.digest
        rows = self._measured(run, names, digest)
        missing = [name for name in names if name not in rows]
        with context.progress.track(self.kind, len(names), "case") as track:

            def measured(case: str, found: MeasuredCase) -> None:
                append_lines(run.path / NAME, [{"case": case, "digest": digest, **asdict(found)}])
                rows[case] = found.rows
                track.update(len(rows))

            track.update(len(rows))
            if missing:
                unfinished = dispatch(context.session, context.stop, CaseMeter, (self, folder), missing, measured)
                done = f"{len(rows)} of {len(names)} cases done"
                check_finished(unfinished, "cases cannot be measured", done, run, context)
        return self._conclude([row for name in names for row in rows[name]], run.path)

    def chosen(self, hamiltonian: Hamiltonian) -> list[Case]:
        """Return the cases of the job.

        Args:
            hamiltonian: the true Hamiltonian.

        Raises:
            InputError: a case is unknown.
        """
        known = {case.name: case for case in wrong_assumptions(hamiltonian)}
        for name in self.cases or ():
            if name not in known:
                raise InputError("cases", f"unknown name {name!r}", suggestion(name, known))
        return [known[name] for name in self.cases or known]

    def approaches(self) -> dict[str, Approach]:
        """Return the approaches to compare, by name: the methods, and the first "map" after a calibration."""
        found = {choice.name: by_method(choice.build()) for choice in self.methods}
        first = self._map()
        return found | ({CALIBRATED: calibrated(first.build())} if self.calibrate and first else {})

    @staticmethod
    def _measured(run: RunDir, names: Container[str], digest: str) -> dict[str, list[Row]]:
        """Return the rows of the cases of these names that are in the ledger, for data of this digest."""
        entries = (entry for entry in read_entries(run.path / NAME, _Entry) if entry.digest == digest)
        return {entry.case: entry.rows for entry in entries if entry.case in names}

    def _map(self) -> LabelledChoice | None:
        return next((choice for choice in self.methods if choice.method == "map"), None)

    def _conclude(self, rows: list[Row], folder: Path) -> Summary:
        """Write the table and the picture."""
        write_text(folder / TABLE, as_csv(rows))
        errors, torques, names = means(rows), means(rows, "torque"), list(self.approaches())
        values = np.array([[found[name] for name in names] for found in errors.values()])
        title = f"mean squared error at scale {self.scale}, {self.samples} fields"
        draw_heat_map(values, ("wrong assumption", list(errors)), ("method", names), title, folder / PICTURE, log=True)
        figures = {case: ", ".join(f"{name} {found[name]:.2g}" for name in names) for case, found in errors.items()}
        if RIGHT in torques and (first := self._map()):
            worst = max(found[first.name] for found in torques.values())
            figures[f"torque of {first.name}"] = f"{torques[RIGHT][first.name]:.2g} J with {RIGHT}, up to {worst:.2g} J"
        return Summary(f"robustness, x{self.scale}, {self.samples} fields: MSE", figures, (PICTURE,))


@dataclass(frozen=True)
class MeasuredCase:
    """The results of a case.

    Attributes:
        rows: rows of results.
        seconds: wall time, s.
    """

    rows: list[Row]
    seconds: float


@dataclass(frozen=True)
class _Entry:
    """A line of the ledger.

    Attributes:
        case: name of the case.
        digest: digest of the samples.
        rows: rows of results.
    """

    case: str
    digest: str
    rows: list[Row]


class CaseMeter(Worker[str, MeasuredCase]):
    """Measures cases in a Ray actor.

    Args:
        job: the job.
        dataset: folder of the dataset.
    """

    def __init__(self, job: Robustness, dataset: Path) -> None:
        self._job, self._reader = job, job.open_dataset(dataset).reader(job.split)

    def work(self, item: str) -> MeasuredCase:
        """Return the results of the case of this name."""
        start = time.monotonic()
        job, reader = self._job, self._reader
        (case,) = (case for case in job.chosen(reader.hamiltonian) if case.name == item)
        rows = robustness_rows(case, job.approaches(), reader.read(np.arange(job.samples)), job.scale, job.seed)
        return MeasuredCase(rows, time.monotonic() - start)


def progress(run: RunDir, job: Table) -> dict[str, str]:  # noqa: ARG001
    """Return the row of `rayspin status`: how many cases are done.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    return {"cases": f"{len({entry.case for entry in read_entries(run.path / NAME, _Entry)})} done"}
