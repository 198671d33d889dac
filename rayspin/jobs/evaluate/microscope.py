"""Estimate fields and fine spins from pictures of a microscope (2021 paper, Figs. 4b and 4c; 2023 paper, Fig. 7)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.analysis.figures import draw_application
from rayspin.analysis.microscopy import field_errors, isotropic_estimate, spin_errors
from rayspin.application import Operation, operation, to_sites
from rayspin.application.networks import loaded_operation
from rayspin.application.operations import FINE_MARGIN, MORE_THAN_AN_IMAGE, all_components
from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.period import resized_to
from rayspin.imaging.tiles import Edges
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.microscope.job import MicroscopeImages
from rayspin.jobs.microscope.pictures import NAME, Pictures
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.jobs.stand_in import seconds_of
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.jobs.train.references import Trained, weights_file
from rayspin.models import FineNetConfig
from rayspin.physics import Hamiltonian
from rayspin.reconstruction import METHODS, AssumptionWarning
from rayspin.rundir import RunDir, Summary, write_text

TABLE, PICTURE = "microscope.csv", "microscope.png"

MARGIN = 8
"""Pixels around the square that is reconstructed which the methods see too."""

_PLANNED = 16
"""Side of the part of a picture with which the cost of fine spins is measured, pixels."""

EDGE = 24
"""Distance from the edges of a picture, sites, beyond which the errors of a field are given apart: what lies beyond the
edges is not known."""

ISOTROPIC = "c S"
"""Name of the field c S of the measured spins, with the c that fits the true field best."""


@dataclass(frozen=True)
class Found:
    """The result of an operation on a picture.

    Attributes:
        name: name of the operation.
        quantity: name of the result.
        values_YXC: the field, J, or the spins, of the part of the picture that is evaluated.
        figures: its errors and its consistency with the picture.
    """

    name: str
    quantity: Literal["field", "spins"]
    values_YXC: Spins
    figures: Mapping[str, float]


class Microscopy(Stage):
    """Fields or fine spins of pictures by networks and methods of reconstruction, with errors if the truth is known."""

    references: ClassVar[tuple[str, ...]] = ("pictures",)

    kind: Literal["microscope"] = "microscope"
    pictures: str
    """Folder of a job of kind "microscope-images", or `@name` for an earlier stage of the pipeline."""
    networks: dict[str, str] = pydantic.Field(default={})
    """Networks by their names in tables: a weights file, the folder of a training, `@name` or `pretrained:NAME`. They
    estimate fields of pictures at scale 1, or fine spins at the scale of the pictures."""
    methods: tuple[str, ...] = ()
    """Methods of reconstruction of fine spins."""
    hamiltonian: Hamiltonian | None = None
    """Hamiltonian that "map" assumes. Default: that of the dataset that was pictured."""
    noise: Annotated[float, pydantic.Field(ge=0)] | Literal["estimated"] = "estimated"
    """Amplitude of the noise that methods assume, as in a job of kind "reconstruct"."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that pictures and networks exist or are made by earlier stages, and that they fit together."""
        run.check_same(self.identity_in(run), self.may_change)
        images = MicroscopeImages.of(self.pictures, "pictures", run, earlier)
        if not self.networks and not self.methods:
            raise InputError("methods", "neither methods nor networks are given", 'give methods = ["bicubic"]')
        names = [*self.networks, *self.methods]
        for name in names:
            if names.count(name) > 1:
                raise InputError("methods", f"{name!r} occurs twice", "name each network and method once")
        for name in self.methods:
            _check_method(name, images)
        if "map" in self.methods and self.hamiltonian is None and not self._tells_hamiltonian(images, run, earlier):
            raise InputError("hamiltonian", 'the method "map" needs one', 'give "labyrinth", "domain" or a table')
        for name, reference in self.networks.items():
            trained = Trained.of(reference, f"networks.{name}", run, earlier)
            scale = trained.network.scale if isinstance(trained.network, FineNetConfig) else 1
            if scale != images.scale:
                problem = f"{reference!r} is for scale {scale}, and the pictures have {images.scale}"
                raise InputError(f"networks.{name}", problem, "give a network of that scale (of fields at scale 1)")
            if scale > 1 and images.components == 1 and not trained.one_component:
                problem = f"{reference!r} needs all components, and the pictures show S_z alone"
                raise InputError(f"networks.{name}", problem, "give a network that was trained on tiles of S_z")

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return networks and methods and their cost, measured on one picture, or on a stand-in of it."""
        figures = {"networks and methods": ", ".join([*self.networks, *self.methods])}
        if self.done(run) is not None:
            return Plan(self.kind, figures, 0.0)
        images = MicroscopeImages.of(self.pictures, "pictures", run, earlier)
        folder = run.locate(self.pictures)
        pictures = Pictures.load(folder) if (folder / NAME).exists() else images.example(run, earlier)
        networks: dict[str, Operation] = {}
        for name, reference in self.networks.items():
            trained = Trained.of(reference, f"networks.{name}", run, earlier)
            network: Any = trained.network.build()
            networks[name] = loaded_operation(network, name, {}, one_component=trained.one_component)
        times: float = images.count
        case = _Picture(pictures, 0)
        if pictures.scale > 1:
            # MAP takes minutes on a large part.
            part = min(_PLANNED, *pictures.known_NYX.shape[1:])
            times *= ((case.seen_side + 2 * FINE_MARGIN) / part) ** 2
            case = _Picture(pictures.middle(part), 0, "periodic")
        operations = networks | self._methods(pictures)
        seconds = times * seconds_of(lambda: [list(case.apply(*named)) for named in operations.items()])
        return Plan(self.kind, figures, seconds, pieces=1)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Apply all networks and methods to all pictures in this process, and write the table and a picture."""
        pictures = Pictures.load(run.locate(self.pictures))
        operations = self._operations(run, pictures)
        rows: list[Row] = []
        shown: list[Found] = []
        with context.progress.track(self.kind, len(pictures), "picture") as track:
            for n in range(len(pictures)):
                case = _Picture(pictures, n)
                found = [one for name, applied in operations.items() for one in case.apply(name, applied)]
                rows += [{"picture": n, "method": one.name, "quantity": one.quantity, **one.figures} for one in found]
                shown = shown or found
                track.update(n + 1)
        columns = dict.fromkeys(name for row in rows for name in row)
        write_text(run.path / TABLE, as_csv([{name: row.get(name, "") for name in columns} for row in rows]))
        _draw(_Picture(pictures, 0), shown, run.path / PICTURE)
        figures = {"pictures": f"{len(pictures)}, {'truth known' if pictures.truth else 'truth not known: no errors'}"}
        names = dict.fromkeys(row["method"] for row in rows)
        figures |= {name: _description(where(rows, method=name)) for name in names}
        return Summary("microscope", figures, (PICTURE,), (f"see {run.path / TABLE}",))

    def _tells_hamiltonian(self, images: MicroscopeImages, run: RunDir, earlier: Mapping[str, Stage]) -> bool:
        """Return whether the Hamiltonian of the fine spins is known; pictures that exist tell it in the run."""
        if images.dataset is None or not self.pictures.startswith("@"):
            return images.dataset is not None
        hamiltonians = DatasetFacts.of(images.dataset, run, earlier, incomplete=images.incomplete).hamiltonians
        return all(images.pictured(hamiltonian) is not None for hamiltonian in hamiltonians)

    def _operations(self, run: RunDir, pictures: Pictures) -> dict[str, Operation]:
        networks = {name: operation(weights_file(reference, run)) for name, reference in self.networks.items()}
        return networks | self._methods(pictures)

    def _methods(self, pictures: Pictures) -> dict[str, Operation]:
        hamiltonian = self.hamiltonian or pictures.hamiltonian
        noise = None if self.noise == "estimated" else self.noise
        return {
            name: operation(name, scale=pictures.scale, hamiltonian=hamiltonian if name == "map" else None, noise=noise)
            for name in self.methods
        }


def _check_method(name: str, images: MicroscopeImages) -> None:
    """Check that a method can reconstruct fine spins of pictures."""
    if name not in METHODS:
        raise InputError("methods", f"unknown method {name!r}", suggestion(name, list(METHODS)))
    if images.scale == 1:
        raise InputError("methods", "the pictures show all sites (scale 1)", "remove them")
    if name in MORE_THAN_AN_IMAGE:
        problem = f"{name!r} needs more than a picture"
        raise InputError("methods", problem, 'use "wiener-em" or "map", or a job of kind "reconstruct"')
    if name == "wiener-em" and images.components == 1:
        problem = '"wiener-em" needs all components, and the pictures show S_z alone'
        raise InputError("methods", problem, 'use "projections" or "map"')


@dataclass(frozen=True)
class _Picture:
    """A picture to which networks and methods are applied.

    Attributes:
        pictures: all pictures.
        number: number of this one.
        edges: what lies beyond its edges.
    """

    pictures: Pictures
    number: int
    edges: Edges = "mirrored"

    def apply(self, name: str, applied: Operation) -> Iterator[Found]:
        """Yield the results of the operations, and for fields the field c S, if the true field is known."""
        if applied.quantity == "field":
            yield from self._field(name, applied)
        else:
            yield self._fine(name, applied)

    @property
    def measured(self) -> Spins:
        """The measured spins of the part that is evaluated."""
        measured: Spins = self.pictures.coarse_NYXC[self.number][self.pictures.square()]
        return measured

    def truth(self, quantity: str) -> Spins | None:
        """Return the true field or the true fine spins of the part that is evaluated, if they are known."""
        if quantity not in self.pictures.truth:
            return None
        truth: Spins = self.pictures.truth[quantity][self.number][self._fine_square]
        return truth

    @cached_property
    def _fine_square(self) -> tuple[slice, slice]:
        rows, columns = self.pictures.square()
        return self.pictures.fine(rows), self.pictures.fine(columns)

    def _field(self, name: str, applied: Operation) -> Iterator[Found]:
        given, factor = to_sites(self._input(slice(None), slice(None)), applied)
        shape = self.pictures.known_NYX.shape[1:]
        field_YXC = resized_to(applied(given)[0], (shape[0], shape[1]))[self.pictures.square()]
        truth_YXC = self.truth("field")
        sites = {"sites_per_pixel": factor}
        if truth_YXC is None:
            yield Found(name, "field", field_YXC, sites)
            return
        edge = math.ceil(EDGE / factor)
        isotropic_YXC = isotropic_estimate(all_components(self.measured), truth_YXC)
        for title, estimate_YXC, figures in ((name, field_YXC, sites), (ISOTROPIC, isotropic_YXC, {})):
            errors = field_errors(estimate_YXC, truth_YXC)
            inside = slice(edge, -edge), slice(edge, -edge)
            if min(truth_YXC.shape[:2]) > 2 * edge:
                within = field_errors(estimate_YXC[inside], truth_YXC[inside])
                errors |= {f"inside_{key}": value for key, value in within.items()}
            yield Found(title, "field", estimate_YXC, {**figures, **errors})

    def _fine(self, name: str, applied: Operation) -> Found:
        square, seen = self.pictures.square(), self._seen
        given = self._input(*seen)
        # Noise, and a view of a rotated lattice, contradict most Hamiltonians a little.
        with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
            fine_YXC = applied(given)[0]
        inner = [slice(part.start - around.start, part.stop - around.start) for part, around in zip(square, seen)]
        again_YXC = self._degraded(fine_YXC)[inner[0], inner[1]]
        components = min(fine_YXC.shape[-1], given.spins_NYXC.shape[-1])
        misfit = again_YXC[..., -components:] - self.measured[..., -components:]
        figures = {"misfit": float(np.sqrt(np.square(misfit, dtype=np.float64).mean()))}
        rows, columns = map(self.pictures.fine, inner)
        fine_YXC = fine_YXC[rows, columns]
        truth_YXC = self.truth("spins")
        if truth_YXC is not None:
            figures |= spin_errors(fine_YXC, truth_YXC)
        return Found(name, "spins", fine_YXC, figures)

    @property
    def seen_side(self) -> int:
        """Longer side of the part of a picture that methods see for fine spins, pixels."""
        rows, columns = self._seen
        return int(max(rows.stop - rows.start, columns.stop - columns.start))

    @property
    def _seen(self) -> tuple[slice, slice]:
        rows, columns = (
            slice(max(0, part.start - MARGIN), min(side, part.stop + MARGIN))
            for part, side in zip(self.pictures.square(), self.pictures.known_NYX.shape[1:])
        )
        return rows, columns

    def _degraded(self, fine_YXC: Spins) -> Spins:
        """Return the coarse version of fine spins of one or three components."""
        degradation, scale = self.pictures.degradation, self.pictures.scale
        rows, columns = (degradation.matrix(side, scale) for side in fine_YXC.shape[:2])
        coarse: Spins = np.einsum("Yy,yxc,Xx->YXc", rows, fine_YXC, columns, optimize=True)
        return coarse

    def _input(self, rows: slice, columns: slice) -> Input:
        part = slice(self.number, self.number + 1), rows, columns
        return Input("picture", self.pictures.coarse_NYXC[part], self.pictures.known_NYX[part], self.edges, gray=True)


def _draw(picture: _Picture, found: list[Found], path: Path) -> None:
    panels: dict[str, npt.NDArray[Any]] = {"measured": picture.measured}
    panels |= {one.name: one.values_YXC for one in found if one.name != ISOTROPIC}
    truth = picture.truth(found[0].quantity)
    draw_application(panels | ({} if truth is None else {"truth": truth}), path)


def _description(rows: list[Row]) -> str:
    if rows[0]["quantity"] == "field":
        scale = f"{mean(rows, 'sites_per_pixel'):.3g} sites per pixel" if "sites_per_pixel" in rows[0] else ""
        if "mse" not in rows[0]:
            return scale
        inside = f", {mean(rows, 'inside_mse'):.3g} J^2 inside" if "inside_mse" in rows[0] else ""
        text = f"MSE {mean(rows, 'mse'):.3g} J^2 ({mean(rows, 'mse_relative'):.2%} of the mean square){inside}"
        return f"{text}, angle {mean(rows, 'angle'):.2f} degrees" + (f", {scale}" if scale else "")
    text = f"misfit {mean(rows, 'misfit'):.3g} rms"
    if "mse_z" in rows[0]:
        text += f", MSE of S_z {mean(rows, 'mse_z'):.3g}"
        if not math.isnan(rows[0]["mse"]):
            text += f", of all components {mean(rows, 'mse'):.3g}"
    return text
