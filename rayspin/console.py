"""Printing of progress, summaries, plans and tables to a terminal or to the log file of a batch job."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from rayspin import signals
from rayspin.job import Plan, Summary
from rayspin.launch.doctor import Finding
from rayspin.paths import command
from rayspin.progress import counted, duration
from rayspin.storage import Fault, Verification

LOG_INTERVAL_S = 10.0
"""Seconds between progress lines if the output is not a terminal."""


def console_on(stream: IO[str]) -> Console:
    """Return a console that prints text unchanged: Rich markup in paths or error messages is not interpreted."""
    as_it_is: dict[str, Any] = {"file": stream, "markup": False, "emoji": False, "highlight": False}
    console = Console(**as_it_is)
    # For a log file, which has no width of its own, Rich would wrap tables at 80 columns.
    return console if console.is_terminal else Console(**as_it_is, width=120)


class ConsoleProgress:
    """Progress as a bar with rate, remaining time and figures, or as log lines if the output is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[_Track]:
        """Show a progress bar, or progress lines; arguments as for `rayspin.progress.Progress.track`."""
        if not self._console.is_terminal:
            yield _LoggedTrack(self._console, title, total, unit, done)
            return
        columns = (
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", style="cyan", markup=False),
        )
        with ExitStack() as stack:
            # The bars are drawn by a thread.
            with signals.held():
                bars = stack.enter_context(Bars(*columns, console=self._console))
            yield _BarTrack(bars, title, total, unit, done)

    def say(self, text: str) -> None:
        """Print a message."""
        self._console.print(text, soft_wrap=True)


class _Track:
    """Count and speed of one piece of work.

    The speed is measured from the first progress on, so that it does not include the time to start up.
    """

    def __init__(self, title: str, total: int, unit: str, done: int) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done, self._start = done, (0.0, done)

    def update(self, done: int, **figures: float) -> None:
        """Record that `done` units are done and show the progress."""
        now = time.monotonic()
        if self._start[0] == 0 and done > self._done:
            self._start = (now, done)
        counted = done - self._start[1]
        speed = counted / (now - self._start[0]) if counted > 0 else None
        self._done = done
        parts = [f"{speed:.3g} {self._unit}/s", f"{duration((self._total - done) / speed)} left"] if speed else []
        parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
        self.show(now, done, ", ".join(parts))

    def show(self, now: float, done: int, text: str) -> None:
        """Show the progress at time `now`, with rate and figures as `text`."""
        raise NotImplementedError


class _BarTrack(_Track):
    def __init__(self, bars: Bars, title: str, total: int, unit: str, done: int) -> None:
        super().__init__(title, total, unit, done)
        self._bars, self._task = bars, bars.add_task(title, total=total, completed=done, text="")

    def show(self, now: float, done: int, text: str) -> None:  # noqa: ARG002
        self._bars.update(self._task, completed=done, text=text)


class _LoggedTrack(_Track):
    def __init__(self, console: Console, title: str, total: int, unit: str, done: int) -> None:
        super().__init__(title, total, unit, done)
        self._console, self._next, self._shown = console, 0.0, done

    def show(self, now: float, done: int, text: str) -> None:
        if done == self._shown or (now < self._next and done < self._total):
            return
        self._next, self._shown = now + LOG_INTERVAL_S, done
        line = f"{self._title}: {done}/{self._total}" + (f", {text}" if text else "")
        self._console.print(line, soft_wrap=True)


def show_summary(console: Console, summary: Summary, folder: Path) -> None:
    """Print the tables of a finished run, the paths of its pictures, and suggestions for what to do next.

    The last line is the command that makes a report of the run.

    Args:
        console: where to print.
        summary: summary of the run.
        folder: folder of the run, which the paths of pictures are relative to.
    """
    for part in summary.parts or (summary,):
        console.print(two_columns(part.title, part.figures))
    for picture in summary.pictures:
        console.print(f"picture: {folder / picture}", soft_wrap=True)
    if summary.hints:
        console.print("next:", *(f"  {hint}" for hint in summary.hints), sep="\n", soft_wrap=True)
    console.print(f"report: {command('report', folder)}", soft_wrap=True)


def show_plan(
    console: Console, plan: Plan, cores: int, nodes: Sequence[int] = (), cores_per_node: int | None = None
) -> None:
    """Print what a run would do and cost.

    Args:
        console: where to print.
        plan: the plan of the run.
        cores: number of cores of this machine.
        nodes: numbers of nodes for further estimates of the time; 1 is omitted if `cores_per_node` is None.
        cores_per_node: cores of each of these nodes; by default `cores`.
    """
    table = _stages(plan) if plan.parts else two_columns(plan.title, plan.figures)
    costs = {
        "data to write": f"{plan.bytes / 1e6:.1f} MB",
        "core-hours": f"{plan.core_seconds / 3600:.3g}",
        f"time on this machine ({cores} cores)": duration(plan.seconds_on(cores)),
    }
    for number in nodes:
        if number == 1 and cores_per_node is None:
            continue
        every = number * (cores_per_node or cores)
        idle = f"; {every - plan.pieces} cores stay idle" if 0 < plan.pieces < every else ""
        label = f"time on {counted(number, 'node')} ({every} cores)"
        costs[label] = duration(plan.seconds_on(every)) + idle
    done = Panel("everything is done", expand=False)
    console.print(Group(table, two_columns("to do", costs) if plan.core_seconds else done))


def _stages(plan: Plan) -> Table:
    """Return the table of a pipeline: a row for each stage."""
    table = Table(title=plan.title, title_justify="left")
    for column in ("stage", "kind", "work"):
        table.add_column(column)
    table.add_column("core-hours", justify="right")
    for name, part in plan.parts.items():
        work = ", ".join(f"{key}: {text}" for key, text in list(part.figures.items())[:1])
        table.add_row(name, part.title, work, f"{part.core_seconds / 3600:.2g}")
    return table


def show_faults(console: Console, faults: Sequence[Fault]) -> None:
    """Print the faults of a dataset as a table."""
    if not faults:
        console.print("all bytes and values are intact")
        return
    table = Table(title="faults", title_justify="left")
    for column in ("samples", "file", "problem"):
        table.add_column(column)
    for fault in faults:
        samples = f"{fault.first_sample} to {fault.first_sample + fault.count - 1}" if fault.count else ""
        table.add_row(samples, fault.file, fault.problem)
    console.print(table)


def show_torques(console: Console, found: Verification) -> None:
    """Print the largest torques of the samples, and how many are within the tolerance of their schedules."""
    samples = len(found.torques)
    if samples:
        ended = "" if found.relaxed == samples else " (the quench of the others ended at its maximum number of sweeps)"
        console.print(
            f"largest torque of a sample: mean {found.torques.mean():.2g} J, at most {found.torques.max():.2g} J; "
            f"{found.relaxed} of {samples} are within their schedule's tolerance{ended}",
            soft_wrap=True,
        )


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print the findings of `rayspin doctor` as a table."""
    table = Table(title=f"doctor on {socket.gethostname()}", title_justify="left")
    for column in ("subject", "found", "remedy"):
        table.add_column(column)
    for finding in findings:
        table.add_row(finding.subject, finding.found, finding.remedy)
    console.print(table)


def two_columns(title: str, rows: dict[str, str]) -> Table:
    """Return a table with a column of names and a column of values."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=44)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table
