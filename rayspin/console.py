"""How runs, plans and tables look in a terminal, and in the log file of a batch job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from rayspin.job import Plan, Summary

LOG_INTERVAL_S = 10.0
"""Seconds between progress lines where there is no terminal."""

SPEED_WINDOW_S = 60.0
"""The speed shown is that of the last minute, so that a slow start is soon forgotten."""


class ConsoleProgress:
    """Progress as a bar with rate, time left and figures; as a line now and then where the output is a file."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[_Track]:
        """A bar for `total` things called `unit`."""
        if not self._console.is_terminal:
            yield _LoggedTrack(self._console, title, total, unit, done)
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[cyan]{task.fields[figures]}"),
        )
        with Bars(*columns, console=self._console, speed_estimate_period=SPEED_WINDOW_S) as bars:
            task = bars.add_task(title, total=total, completed=done, rate="", figures="")
            yield _BarTrack(bars, task, unit, done)

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, highlight=False)


class _Track:
    """Counts and times one piece of work."""

    def __init__(self, unit: str, done: int) -> None:
        self._unit, self._done_before, self._start = unit, done, time.monotonic()

    def update(self, done: int, **figures: float) -> None:
        raise NotImplementedError

    def rate(self, done: int) -> str:
        seconds = time.monotonic() - self._start
        return f"{(done - self._done_before) / seconds:.3g} {self._unit}/s" if done > self._done_before else ""


class _BarTrack(_Track):
    def __init__(self, bars: Bars, task: object, unit: str, done: int) -> None:
        super().__init__(unit, done)
        self._bars, self._task = bars, task

    def update(self, done: int, **figures: float) -> None:
        self._bars.update(self._task, completed=done, rate=self.rate(done), figures=_line(figures))  # type: ignore[arg-type]


class _LoggedTrack(_Track):
    def __init__(self, console: Console, title: str, total: int, unit: str, done: int) -> None:
        super().__init__(unit, done)
        self._console, self._title, self._total = console, title, total
        self._next, self._told = 0.0, done

    def update(self, done: int, **figures: float) -> None:
        now = time.monotonic()
        if done == self._told or (now < self._next and done < self._total):
            return
        self._next, self._told = now + LOG_INTERVAL_S, done
        left = (self._total - done) * (now - self._start) / max(done - self._done_before, 1)
        parts = [f"{self._title}: {done}/{self._total}", self.rate(done), f"{_duration(left)} left", _line(figures)]
        self._console.print(", ".join(part for part in parts if part), highlight=False, soft_wrap=True)


def show_summary(console: Console, summary: Summary, folder: Path) -> None:
    """A finished run: its tables, where its pictures are, what to try next."""
    for part in summary.parts or (summary,):
        console.print(two_columns(part.title, part.figures))
    for picture in summary.pictures:
        console.print(f"picture: {folder / picture}", highlight=False, soft_wrap=True)
    if summary.hints:
        console.print("next:", *(f"  {hint}" for hint in summary.hints), sep="\n", highlight=False, soft_wrap=True)


def show_plan(console: Console, plan: Plan, cores: int) -> None:
    """What a run would do and cost."""
    tables = [two_columns(part.title, part.figures) for part in plan.parts or (plan,)]
    cost = two_columns(
        "to do",
        {
            "to write": f"{plan.bytes / 1e6:.1f} MB",
            "core-hours": f"{plan.core_seconds / 3600:.3g}",
            f"time on this machine ({cores} cores)": _duration(plan.core_seconds / cores),
        },
    )
    console.print(
        Group(*tables, cost) if plan.core_seconds else Group(*tables, Panel("everything is done", expand=False))
    )


def two_columns(title: str, rows: dict[str, str]) -> Table:
    """A table of names and values."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=44)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _line(figures: dict[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
