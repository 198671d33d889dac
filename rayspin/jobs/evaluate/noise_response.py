"""Feed the output of super-resolution back as its input, from coarse spins with noise (2023 paper, Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic

from rayspin.analysis.figures import Floats, Panel, draw_experiment
from rayspin.analysis.frames import Frames, write_frames
from rayspin.analysis.noise_response import (
    NoisePlace,
    feed_back,
    mean_curve,
    noisy_coarse,
    recorded_iterations,
    response_rows,
)
from rayspin.analysis.resolution import Upsample
from rayspin.jobs.evaluate.job import Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.reconstructions import ONLY, Loaded, OneDataset
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.models.fine import Scale
from rayspin.rundir import Summary, write_text

SHOWN_AMPLITUDES = 6
"""Largest number of amplitudes in the picture."""


class NoiseResponse(OneDataset):
    """Correlation with the truth while the output is degraded and fed back (2023 paper, Figs. 5 and 6)."""

    kind: Literal["noise-response"] = "noise-response"
    share_samples: ClassVar[int] = 1

    scale: Scale
    """Fine sites per coarse pixel along each axis."""
    noise_amplitudes: tuple[Annotated[float, pydantic.Field(ge=0)], ...] = pydantic.Field(
        default=(0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0), min_length=1
    )
    """Amplitudes alpha of the noise, S' = (S + alpha R) / |S + alpha R|. With 0 the coarse spins are not normalized."""
    noise: NoisePlace = "coarse"
    """Spins that the noise is added to: the coarse ones, or the fine ones before the degradation."""
    iterations: int = pydantic.Field(default=100, gt=0)
    """Number of iterations: each gives fine spins, which are degraded to the next coarse spins."""
    every: int = pydantic.Field(default=5, gt=0)
    """Number of iterations between the recorded ones, after the first ten, which are all recorded."""
    shown: int = pydantic.Field(default=20, gt=0)
    """Iteration whose spins are drawn."""

    def scales_in(self, networks: Mapping[str, Mapping[int, Any]]) -> tuple[int, ...]:  # noqa: ARG002
        """Return the scale."""
        return (self.scale,)

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """One part: one iteration with one of the amplitudes."""
        one = self.with_updates(noise_amplitudes=self.noise_amplitudes[-1:], iterations=1)
        return [(one, samples * len(self.noise_amplitudes) * self.iterations)]

    def measure(self, case: Loaded, first: int, count: int) -> list[Row]:
        """Return one row for each amplitude, method, sample and recorded iteration."""
        fine_NYXC, rows = case.read(ONLY, first, count), []
        recorded = recorded_iterations(self.iterations, self.every)
        for amplitude in self.noise_amplitudes:
            coarse_NYXC = self._coarse(fine_NYXC, amplitude, first)
            for name, method in self.methods_at(case, ONLY, self.scale).items():
                outputs = feed_back(method, coarse_NYXC, self.scale, self.degradation, self.iterations)
                labels = {"method": name, "noise_amplitude": amplitude}
                rows += response_rows(outputs, recorded, fine_NYXC, case.readers[ONLY].hamiltonian, labels, first)
        return rows

    def conclude(self, case: Loaded, rows: list[Row], folder: Path) -> Summary:
        """Write the rows, the maxima of the mean correlation, and a picture in the style of the paper's figures."""
        write_text(folder / "noise_response.csv", as_csv(rows))
        methods = self.methods_at(case, ONLY, self.scale)
        amplitudes = sorted(set(self.noise_amplitudes))
        found = [_maximum(where(rows, method=name, noise_amplitude=a)) for name in methods for a in amplitudes]
        write_text(folder / "maxima.csv", as_csv(found))
        places = np.linspace(0, len(amplitudes) - 1, min(len(amplitudes), SHOWN_AMPLITUDES)).round().astype(int)
        shown = [amplitudes[place] for place in dict.fromkeys(places.tolist())]
        panels = [
            Panel(
                {f"{a:g}": mean_curve(where(rows, method=name, noise_amplitude=a)) for a in shown},
                "iteration",
                "Corr",
                title=name,
                parameter=r"$\alpha$",
            )
            for name in methods
        ]
        maxima = {name: [row["maximum"] for row in where(found, method=name)] for name in methods}
        curves = {name: (amplitudes, values) for name, values in maxima.items()}
        panels.append(Panel(curves, r"$\alpha$", "maximum of Corr", log_x=amplitudes[-1] > 0, title="maximum of Corr"))
        pictures = self._pictures(case, methods, shown)
        draw_experiment(pictures, panels, folder / "noise_response.png")
        frames = {
            name: np.stack([spins for _, spins in row[1:]]) for name, row in zip(("coarse input", *methods), pictures)
        }
        frames["truth"] = pictures[0][0][1][None]
        title = f"after {min(self.shown, self.iterations)} iterations"
        write_frames(Frames(title, "noise amplitude", [f"{a:g}" for a in shown], frames), folder, "noise")
        figures = {
            "fields": f"{len({row['sample'] for row in rows})} of the split {self.split!r}",
            "noise": f"on the {self.noise} spins, amplitudes " + ", ".join(f"{a:g}" for a in amplitudes),
        }
        figures |= {f"maximum of Corr, {name}": ", ".join(f"{v:.4f}" for v in maxima[name]) for name in methods}
        figures |= {
            f"Corr after {self.iterations}, {name}": ", ".join(
                f"{row['last']:.4f}" for row in where(found, method=name)
            )
            for name in methods
        }
        return Summary(f"noise response, x{self.scale}", figures, ("noise_response.png",))

    def _coarse(self, fine_NYXC: Spins, amplitude: float, first: int) -> Spins:
        return noisy_coarse(fine_NYXC, self.scale, self.degradation, amplitude, self.noise, seed=self.seed, first=first)

    def _pictures(
        self, case: Loaded, methods: Mapping[str, Upsample], shown: list[float]
    ) -> list[list[tuple[str, Floats]]]:
        """Return a row of the coarse inputs, and a row of the outputs of each method, for the first sample."""
        fine_NYXC, last = case.read(ONLY, 0, 1), min(self.shown, self.iterations)
        coarse = {amplitude: self._coarse(fine_NYXC, amplitude, 0) for amplitude in shown}
        pictures: list[list[tuple[str, Floats]]] = [
            [
                ("truth", fine_NYXC[0]),
                *((rf"$\alpha$ = {amplitude:g}", spins[0]) for amplitude, spins in coarse.items()),
            ]
        ]
        for name, method in methods.items():
            line: list[tuple[str, Floats]] = [("truth", fine_NYXC[0])]
            for amplitude, coarse_NYXC in coarse.items():
                *_, output = feed_back(method, coarse_NYXC, self.scale, self.degradation, last)
                line.append((rf"{name}, $\alpha$ = {amplitude:g}, after {last}", output[0]))
            pictures.append(line)
        return pictures


def _maximum(rows: list[Row]) -> Row:
    """Return the maximum of the mean correlation over the iterations, where it is reached, and the last one."""
    steps, means = mean_curve(rows)
    best = int(np.argmax(means))
    return {
        "method": rows[0]["method"],
        "noise_amplitude": rows[0]["noise_amplitude"],
        "maximum": means[best],
        "iteration": steps[best],
        "last": means[-1],
        "last_mse": mean(where(rows, iteration=steps[-1]), "mse"),
        "last_energy": mean(where(rows, iteration=steps[-1]), "energy"),
    }
