"""Jobs of kind "reconstruct": Ray workers reconstruct shards of fine spins, and the driver process keeps the ledger."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.errors import InputError
from rayspin.execution.dispatcher import dispatch
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.reconstruct.case import Case, Places
from rayspin.jobs.reconstruct.ledger import NAME, FieldLedger, MadeFields, Share
from rayspin.jobs.reconstruct.making import FieldMaker
from rayspin.jobs.reconstruct.report import conclude
from rayspin.jobs.reconstruct.task import Task
from rayspin.jobs.stage import Context, Plan, Stage, check_finished
from rayspin.jobs.stand_in import StandIn, seconds_of
from rayspin.physics import Hamiltonian, Microscope
from rayspin.reconstruction import NETWORK, AssumptionWarning, reconstruct
from rayspin.reconstruction.observations import coarse_spins
from rayspin.rundir import RunDir, Summary, sweep_temporaries
from rayspin.storage import Images, Split

_CORNER = 8
"""Side of the image, in coarse pixels, on which `check` tries the method."""


class Reconstruct(Task):
    """Reconstruction of fine spins from coarse ones: from images in files, or from a dataset that is made coarse."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that the inputs exist or are made by earlier stages, and try the method on the corner of an image."""
        run.check_same(self.identity_in(run), self.may_change)
        if self.images is not None:
            images = Images.read(run.locate(self.images)).values_NYXC
            rows, columns = (self.scale * side for side in images.shape[1:3])
            available, hamiltonian = len(images), None
            coarse_spins(images, None, None, longest=None if self.any_length or self.noise else 1)
            if images.shape[-1] == 1 and self.method.method != "map":
                problem = f"has S_z alone, from which {self.method.method!r} makes no spins"
                raise InputError("images", problem, 'use the method "map" with a Hamiltonian')
        else:
            facts = DatasetFacts.of(self.dataset or "", run, earlier, incomplete=self.incomplete)
            (rows, columns), (hamiltonian,) = facts.shape, facts.hamiltonians
            available = facts.counts[self.split]
            (self.microscope or Microscope()).degradation.check_lattice((rows, columns), self.scale)
        if available < (self.samples or 1):
            problem = f"{self.samples or 1} fields requested, and there are {available}"
            raise InputError("samples", problem, "reduce samples, or give more fields")
        self.degradation.check_lattice((rows, columns), self.scale)
        if self.fine is not None:
            shape = DatasetFacts.of(self.fine, run, earlier, incomplete=self.incomplete).shape
            if shape != (rows, columns):
                problem = f"has {shape[0]} x {shape[1]} sites, not {rows} x {columns}"
                raise InputError("fine", problem, "give a dataset of the lattice of the fields")
        if self.weights is not None:
            self._check_network(self.weights, (rows, columns), run, earlier)
        if self.method.method not in (NETWORK, "wiener"):
            self._try(hamiltonian, min(rows // self.scale, _CORNER), min(columns // self.scale, _CORNER))

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining fields and their cost, measured by reconstructing the first one or a stand-in of it."""
        inputs = (self.dataset, self.images, self.fine, self.weights)
        made_earlier = any(reference is not None and reference.startswith("@") for reference in inputs)
        if made_earlier and not (run.path / NAME).exists():
            case = self._stand_in(run, earlier)
        else:
            case = Case.open(self, self._places(run))
        shares = self._shares(case)
        done = FieldLedger(run.path, case.digest).read()
        left = sum(count for first, count in shares if (first, count) not in done)
        coarse_NYXC = case.fields.coarse(0, 1)
        seconds = seconds_of(lambda: case.reconstruct(coarse_NYXC))
        rows, columns = case.fields.shape
        figures = {
            "fields": f"{sum(count for _, count in shares)} of {rows} x {columns}, {left} left",
            "method": self.method.method,
            "seconds per field": f"{seconds:.3g} on one core, measured now",
        }
        pieces = sum(share not in done for share in shares)
        size = left * (coarse_NYXC.nbytes + 3 * coarse_NYXC.itemsize * rows * columns)
        return Plan(self.kind, figures, left * seconds, size, pieces=pieces)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Reconstruct the missing fields, shard by shard, on all cores of the session."""
        places, folder = self._places(run), run.path.resolve()
        case = Case.open(self, places, folder)
        shares, ledger = self._shares(case), FieldLedger(folder, case.digest)
        rows = {share: found for share, found in ledger.read().items() if share in shares}
        count = sum(number for _, number in shares)
        with context.progress.track(self.kind, count, "field") as track:

            def made(share: Share, found: MadeFields) -> None:
                ledger.append(share, found)
                rows[share] = found.rows
                track.update(_fields(rows))

            track.update(_fields(rows))
            missing = [share for share in shares if share not in rows]
            if missing:
                unfinished = dispatch(context.session, context.stop, FieldMaker, (self, places, folder), missing, made)
                done = f"{_fields(rows)} of {count} fields done"
                check_finished(unfinished, "fields cannot be reconstructed", done, run, context)
        # Remove the temporary files of lost workers.
        sweep_temporaries(folder)
        return conclude(case, [row for share in shares for row in rows[share]], run.path)

    def done(self, run: RunDir) -> Summary | None:
        """The summary, if the job has finished in this folder and all of its shards still exist; else None."""
        summary = super().done(run)
        return summary if summary is None or FieldLedger(run.path, "").whole() else None

    def _check_network(self, weights: str, shape: tuple[int, int], run: RunDir, earlier: Mapping[str, Stage]) -> None:
        # These imports load PyTorch, which other methods don't need.
        from rayspin.jobs.train.references import Trained
        from rayspin.models import FineNetConfig

        trained = Trained.of(weights, "weights", run, earlier)
        trained.check(FineNetConfig, None, weights, "weights", self.kind)
        network: Any = trained.network
        if network.scale != self.scale:
            problem = f"the network of {weights!r} has scale {network.scale}, not {self.scale}"
            raise InputError("weights", problem, "give weights of that scale, or another scale")
        network.check_lattice(shape)

    def _try(self, hamiltonian: Hamiltonian | None, rows: int, columns: int) -> None:
        """Reconstruct a small uniform image, so that options that don't fit together fail before the run."""
        coarse_NYXC = self.degradation.apply(np.full((1, self.scale * rows, self.scale * columns, 3), 0.5), self.scale)
        noise = 0.0 if self.noise == "estimated" else self.noise
        # A uniform image contradicts most Hamiltonians.
        with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
            reconstruct(
                coarse_NYXC,
                self.scale,
                self.method.build(),
                degradation=self.degradation,
                hamiltonian=self.hamiltonian or hamiltonian,
                noise=noise,
            )

    def _stand_in(self, run: RunDir, earlier: Mapping[str, Stage]) -> Case:
        """Return the inputs with stand-ins of samples and an untrained network, to measure the cost."""

        def stand_in(dataset: str, split: Split) -> StandIn:
            return DatasetFacts.of(dataset, run, earlier, incomplete=self.incomplete).stand_in(split)

        network = None
        if self.weights is not None:
            from rayspin.jobs.train.references import Trained  # imports PyTorch, which other methods don't need

            network = Trained.of(self.weights, "weights", run, earlier).network.build()
        source: StandIn | Images
        if self.dataset is not None:
            source = stand_in(self.dataset, self.split)
        else:
            source = Images.read(run.locate(self.images or ""))
        fine = None if self._fine_dataset is None else stand_in(self._fine_dataset, "train")
        return Case.stand_in(self, source, fine, network)

    @property
    def _fine_dataset(self) -> str | None:
        """Reference to the dataset whose training samples give the spectrum, if the method needs it."""
        return self.fine or self.dataset if self.method.method == "wiener" else None

    def _places(self, run: RunDir) -> Places:
        """Return the files of the inputs."""

        def located(reference: str | None) -> Path | None:
            return None if reference is None else run.locate(reference).resolve()

        weights = None
        if self.weights is not None:
            from rayspin.jobs.train.references import weights_file  # imports PyTorch, which other methods don't need

            weights = weights_file(self.weights, run).resolve()
        return Places(located(self.dataset), located(self.images), located(self._fine_dataset), weights)

    def _shares(self, case: Case) -> list[Share]:
        count, step = self.samples or len(case.fields), self.shard_samples
        return [(first, min(step, count - first)) for first in range(0, count, step)]


def _fields(rows: Mapping[Share, object]) -> int:
    return sum(count for _, count in rows)
