"""Paths, messages and tracebacks are printed unchanged and not interpreted as markup."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from rayspin.console import ConsoleProgress, console_on, show_faults, show_summary, two_columns
from rayspin.paths import command
from rayspin.rundir import Summary
from rayspin.storage import Fault

MARKUP = "m [/2] [bold] 1 :smile: [red]x"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_summary_shows_brackets_and_colons_unchanged(stream: io.StringIO) -> None:
    summary = Summary(f"dataset {MARKUP}", {MARKUP: MARKUP}, (f"{MARKUP}.png",), (f"rayspin show '{MARKUP}'",))
    show_summary(console_on(stream), summary, Path(MARKUP))
    lines = stream.getvalue().splitlines()
    assert f"picture: {MARKUP}/{MARKUP}.png" in lines
    assert f"  rayspin show '{MARKUP}'" in lines
    assert lines[0].strip() == f"dataset {MARKUP}"
    assert shlex.split(lines[-1]) == ["report:", "rayspin", "report", MARKUP]
    assert stream.getvalue().count(MARKUP) == 7


def test_tables_and_faults_show_brackets_unchanged(stream: io.StringIO) -> None:
    console = console_on(stream)
    console.print(two_columns(MARKUP, {"failed": MARKUP}))
    show_faults(console, [Fault(0, 4, f"{MARKUP}.nc", MARKUP)])
    assert stream.getvalue().count(MARKUP) == 4


def test_progress_shows_titles_and_paths_unchanged_in_one_line(stream: io.StringIO) -> None:
    progress = ConsoleProgress(console_on(stream))
    progress.say(f"{'x' * 200}/{MARKUP}: done before")
    with progress.track(MARKUP, 2, "sample") as track:
        track.update(2)
    message, tracked = stream.getvalue().splitlines()
    assert message == f"{'x' * 200}/{MARKUP}: done before"
    assert tracked.startswith(f"{MARKUP}: 2/2")


def test_suggested_commands_are_quoted_for_the_shell() -> None:
    line = command("show", Path("a b/$x 'y'"), "--out", "network.png")
    assert shlex.split(line) == ["rayspin", "show", "a b/$x 'y'", "--out", "network.png"]
