"""Jobs of kind "microscope-images": make pictures from the samples of a dataset, or read a user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.imaging.inputs import normalized
from rayspin.imaging.levels import Bools, Floats, Levels
from rayspin.imaging.raster import read_raster
from rayspin.imaging.views import check_fits, view
from rayspin.jobs.generate.facts import DatasetFacts, DataStage
from rayspin.jobs.microscope.pictures import Pictures, Spins
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.jobs.stand_in import StandIn, seconds_of
from rayspin.paths import command
from rayspin.physics import Hamiltonian, Microscope, effective_field
from rayspin.rundir import RunDir, Summary, replacing
from rayspin.storage import Catalog, SpinReader, Split

_Source = SpinReader | StandIn

PICTURE = "pictures.png"
_BLUR_WIDTHS = 4
"""The pixels within this many standard deviations of the blur from an edge are not shown: the blur is periodic."""


@dataclass(frozen=True)
class _Observed:
    """Pictures and what they are made of.

    Attributes:
        pictures: the pictures as spins.
        gray_NYXC: their gray levels.
        clean_NYXC: the measured components without noise, if the pictures are synthetic.
    """

    pictures: Pictures
    gray_NYXC: Floats
    clean_NYXC: Spins | None


class MicroscopeImages(DataStage):
    """Pictures of a microscope: synthetic ones of simulated spins, whose truth is known, or a user's own.

    A synthetic picture shows a rotated part of a sample as `microscope` images it. `levels` converts all pictures to
    spins, without information about the microscope.
    """

    references: ClassVar[tuple[str, ...]] = ("dataset",)

    kind: Literal["microscope-images"] = "microscope-images"
    dataset: str | None = pydantic.Field(default=None, exclude_if=lambda dataset: dataset is None)
    """Folder of the dataset whose samples are shown, or `@name` for an earlier stage of the pipeline."""
    files: tuple[str, ...] = pydantic.Field(default=(), exclude_if=lambda files: not files)
    """In place of `dataset`: pictures in files (PNG, TIFF). With `microscope.components = "z"`, each shows S_z;
    otherwise three show S_x, S_y and S_z. `microscope.degradation` and `scale` are then assumptions."""
    split: Split = "test"
    """Split of the dataset."""
    samples: int = pydantic.Field(default=1, gt=0)
    """Number of samples, counted from the first of the split; there is one picture of each."""
    size: Annotated[int, pydantic.Field(ge=8, le=2**14)] = 256
    """Side of the synthetic pictures, pixels."""
    scale: int = pydantic.Field(default=1, ge=1, le=64)
    """Sites of the fine spins per pixel along each axis; 1 if the pictures show all sites."""
    magnification: Annotated[float, pydantic.Field(gt=0.1, lt=10)] = 1.0
    """Size of the textures in a picture relative to that of the simulated ones: sites of the fine spins per site of the
    simulated lattice along each axis."""
    angle: Annotated[float, pydantic.Field(ge=-360, le=360)] = 17.0
    """Angle from the x axis of the lattice to that of the pictures, towards y, degrees."""
    microscope: Microscope = Microscope()
    """Effects of the microscope on the images: blur, sampling, shot noise, background, gain and offset."""
    levels: Levels = Levels()
    """Conversion of gray levels to spins."""
    normalize: bool = False
    """Normalize spins of three components to length 1."""
    held_out: int = pydantic.Field(default=0, ge=0)
    """Side, pixels, of the square in the middle of each picture that trainings on its tiles don't use, and that is
    reconstructed; 0 for none."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise. The i-th sample of the split uses the random stream (seed, i)."""

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (not self.files):
            raise InputError("dataset", "one of dataset and files is needed", "give either, not both")
        if self.files and self.components == 3 and len(self.files) != 3:
            problem = f"there are {len(self.files)}, and three show S_x, S_y and S_z"
            raise InputError("files", problem, 'give three, or microscope = { components = "z" }')
        if self.normalize and self.components == 1:
            raise InputError("normalize", "S_z alone has no length", 'remove it, or give components = "xyz"')
        return self

    @property
    def components(self) -> int:
        """Number of measured components."""
        return 1 if self.microscope.components == "z" else 3

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.files) // self.components if self.files else self.samples

    @classmethod
    def of(cls, reference: str, where: str, run: RunDir, earlier: Mapping[str, Stage]) -> MicroscopeImages:
        """Return the job that makes, or made, the pictures that another job refers to.

        Args:
            reference: folder of a run, or `@name` for an earlier stage.
            where: key of the reference, for error messages.
            run: folder of the other job.
            earlier: stages before it in its pipeline by name.

        Raises:
            InputError: there is no such job.
        """
        if reference.startswith("@"):
            stage = earlier.get(reference[1:])
            if isinstance(stage, cls):
                return stage
            makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, cls)]
            raise InputError(where, f"no earlier stage {reference!r} makes pictures", suggestion(reference, makers))
        table = RunDir.at(run.locate(reference)).asked()
        if table is None or table.get("kind") != "microscope-images":
            remedy = 'give the folder of a job of kind "microscope-images"'
            raise InputError(where, f"{reference!r} has no pictures of a microscope", remedy)
        return build(cls, table, reference)

    def pictured(self, hamiltonian: Hamiltonian) -> Hamiltonian | None:
        """Return the Hamiltonian of the fine spins in synthetic pictures, or None if it isn't that of the lattice.

        A magnification changes the number of sites per period, and a rotation the directions in the plane.

        Args:
            hamiltonian: the Hamiltonian of the lattice.
        """
        vectors = [hamiltonian.external_field, hamiltonian.anisotropy_axis if hamiltonian.anisotropy else (0, 0, 1)]
        turned = self.angle % 360 != 0 and any(any(vector[:2]) for vector in vectors)
        return None if turned or self.magnification != 1 else hamiltonian

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that the dataset or the files exist, and that the pictures fit into the samples."""
        run.check_same(self.identity_in(run), self.may_change)
        for file in self.files:
            if not run.locate(file).is_file():
                raise InputError("files", f"{file} is missing, or not a regular file", "give a picture")
        if self.dataset is not None:
            facts = DatasetFacts.of(self.dataset, run, earlier, incomplete=self.incomplete)
            facts.check_samples(self.split, self.samples)
            check_fits(self._view, facts.shape, self.angle, 1 / self.magnification)
            self._check_held_out((self.size, self.size))

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the number of pictures and their cost, measured by the files, or by the picture of a stand-in."""
        figures = {"pictures": str(self.count)}
        if self.done(run) is not None:
            return Plan(self.kind, figures, 0.0)
        times = self.samples if self.dataset is not None else 1
        source = self._stand_in(run, earlier)
        made: list[Pictures] = []
        seconds = times * seconds_of(lambda: made.append(self._observed(run, source, 1).pictures))
        return Plan(self.kind, figures, seconds, times * made[-1].bytes, pieces=1)

    def run(self, run: RunDir, context: Context) -> Summary:  # noqa: ARG002
        """Make or read the pictures, and convert them to spins."""
        source = None
        if self.dataset is not None:
            source = Catalog.open(run.locate(self.dataset), incomplete=self.incomplete).reader(self.split)
        observed = self._observed(run, source, self.samples)
        pictures = observed.pictures
        pictures.save(run.path)
        _write_gray(observed.gray_NYXC, run.path)
        _draw(observed.gray_NYXC, pictures, run.path / PICTURE)
        count, rows, columns, components = pictures.coarse_NYXC.shape
        figures = {"pictures": f"{count} of {rows} x {columns} pixels, {'S_z' if components == 1 else 'S_x, S_y, S_z'}"}
        if observed.clean_NYXC is not None:
            error = np.sqrt(
                np.square(pictures.coarse_NYXC - observed.clean_NYXC, dtype=np.float64).mean(axis=(0, 1, 2))
            )
            figures["error of the measured spins"] = ", ".join(f"{one:.3g}" for one in error) + " rms"
        return Summary("pictures", figures, (PICTURE,), (command("show", run.path),))

    def example(self, run: RunDir, earlier: Mapping[str, Stage]) -> Pictures:
        """Return the pictures in the files, or one of a stand-in of a sample, to measure the cost of later stages.

        Args:
            run: folder of this job, or of a later one of its pipeline.
            earlier: stages before it in the pipeline by name.
        """
        return self._observed(run, self._stand_in(run, earlier), 1).pictures

    def _stand_in(self, run: RunDir, earlier: Mapping[str, Stage]) -> StandIn | None:
        """Return a stand-in of the samples; None if the pictures are in files."""
        if self.dataset is None:
            return None
        return DatasetFacts.of(self.dataset, run, earlier, incomplete=self.incomplete).stand_in(self.split)

    def _observed(self, run: RunDir, source: _Source | None, samples: int) -> _Observed:
        """Return pictures of the first samples, or those in the files without a source of samples."""
        truth: dict[str, Spins] = {}
        hamiltonian = clean_NYXC = None
        if source is None:
            gray_NYXC, known_NYX = self._read(run)
        else:
            gray_NYXC, clean_NYXC, truth = self._made(source, samples)
            known_NYX, hamiltonian = np.ones(gray_NYXC.shape[:3], bool), self.pictured(source.hamiltonian)
        self._check_held_out(known_NYX.shape[1:])
        spins_NYXC = self.levels.spins(gray_NYXC, known_NYX, "pictures")
        if self.normalize:
            spins_NYXC = normalized(spins_NYXC)
        pictures = Pictures(
            spins_NYXC, known_NYX, self.scale, self.held_out, self.microscope.degradation, hamiltonian, truth
        )
        return _Observed(pictures, gray_NYXC, clean_NYXC)

    def _check_held_out(self, shape: tuple[int, ...]) -> None:
        if self.held_out > min(shape):
            problem = f"a square of {self.held_out} pixels is larger than the pictures, {shape[0]} x {shape[1]}"
            raise InputError("held_out", problem, "reduce it")

    def _made(self, source: _Source, samples: int) -> tuple[Floats, Spins, dict[str, Spins]]:
        """Return gray levels, the measured components without noise and in their units, and the truth."""
        optics = self.microscope.with_updates(
            counts=None, illumination=(0.0, 0.0), background=(), gain=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0)
        )
        hidden = self._margin
        inside = slice(hidden, -hidden)
        fine_inside = slice(hidden * self.scale, -hidden * self.scale)
        gray, clean, spins, fields = [], [], [], []
        for n in range(samples):
            sample_YXC = source.read(np.array([n]))[0]
            shown_YXC = self._shown(sample_YXC)
            shown_YXC /= np.linalg.norm(shown_YXC, axis=-1, keepdims=True)
            gray.append(self.microscope.image(shown_YXC, self.scale, (self.seed, n))[inside, inside])
            clean.append(optics.image(shown_YXC, self.scale, (self.seed, n))[inside, inside])
            spins.append(shown_YXC[fine_inside, fine_inside])
            if self.scale == 1:
                field_YXC = self._shown(effective_field(sample_YXC, source.hamiltonian))
                fields.append(field_YXC[fine_inside, fine_inside])
        truth = {"spins": np.stack(spins)} | ({"field": np.stack(fields)} if fields else {})
        return np.stack(gray), np.stack(clean), truth

    @property
    def _margin(self) -> int:
        """Pixels at each edge of the picture that the microscope takes and that are not shown."""
        optics = self.microscope
        width = optics.degradation.sigma * math.sqrt(max(optics.aspect, 1 / optics.aspect)) / self.scale
        return math.ceil(_BLUR_WIDTHS * (width + optics.degradation.coarse_sigma)) + 1

    def _shown(self, field_YXC: Spins) -> Spins:
        """Return the part of a field that a picture with its margin shows, in the axes of the picture."""
        return view(field_YXC, self._view, self.angle, 1 / self.magnification)

    @property
    def _view(self) -> tuple[int, int]:
        """Rows and columns of fine spins in a picture with its margin."""
        side = self.scale * (self.size + 2 * self._margin)
        return side, side

    def _read(self, run: RunDir) -> tuple[Floats, Bools]:
        """Return the gray levels of files, one component each or three together, and which pixels are known."""
        gray, known = zip(*(read_raster(run.locate(file)) for file in self.files))
        if len({one.shape for one in gray}) > 1:
            shapes = ", ".join(f"{one.shape[1]} x {one.shape[2]}" for one in gray)
            raise InputError("files", f"have {shapes} pixels", "give pictures of equal size")
        # The first row of a picture is its topmost.
        if self.components == 1:
            return np.concatenate(gray)[:, ::-1, :, None], np.concatenate(known)[:, ::-1]
        return np.stack(gray, axis=-1)[:, ::-1], np.logical_and.reduce(known)[:, ::-1]


def _write_gray(gray_NYXC: Floats, folder: Path) -> None:
    """Write the gray levels of each picture and component as TIFF files of floats, the topmost row first."""
    from PIL import Image

    names = "z" if gray_NYXC.shape[-1] == 1 else "xyz"
    for n, gray_YXC in enumerate(gray_NYXC):
        for name, gray_YX in zip(names, np.moveaxis(gray_YXC, -1, 0)):
            with replacing(folder / f"picture-{n}-{name}.tif") as temporary:
                Image.fromarray(np.ascontiguousarray(gray_YX[::-1], np.float32)).save(temporary, format="TIFF")


def _draw(gray_NYXC: Floats, pictures: Pictures, path: Path) -> None:
    """Draw the first picture: gray levels, spins, and fine spins."""
    from rayspin.analysis.figures import draw_application  # Importing matplotlib takes a second.

    low, high = np.percentile(gray_NYXC[0, ..., -1], (1, 99))
    gray_YX: npt.NDArray[np.floating] = 2 * (gray_NYXC[0, ..., -1:] - low) / max(high - low, 1e-30) - 1
    panels = {"picture": gray_YX, "measured spins": pictures.coarse_NYXC[0]}
    if "spins" in pictures.truth:
        panels["true spins"] = pictures.truth["spins"][0]
    draw_application(panels, path)
