"""What is printed is the text as it is: paths, messages and tracebacks of others are no markup."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from rayspin.console import ConsoleProgress, console_on, show_faults, show_summary, two_columns
from rayspin.paths import command
from rayspin.rundir import Summary
from rayspin.storage import Fault

ODD = "m [/2] [bold] 1 :smile: [red]x"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_a_summary_shows_brackets_and_colons_as_they_are(stream: io.StringIO) -> None:
    summary = Summary(f"dataset {ODD}", {ODD: ODD}, (f"{ODD}.png",), (f"rayspin show '{ODD}'",))
    show_summary(console_on(stream), summary, Path(ODD))
    lines = stream.getvalue().splitlines()
    assert f"picture: {ODD}/{ODD}.png" in lines
    assert f"  rayspin show '{ODD}'" in lines
    assert lines[0].strip() == f"dataset {ODD}"
    assert stream.getvalue().count(ODD) == 6


def test_tables_and_faults_show_brackets_as_they_are(stream: io.StringIO) -> None:
    console = console_on(stream)
    console.print(two_columns(ODD, {"failed": ODD}))
    show_faults(console, [Fault(0, 4, f"{ODD}.nc", ODD)])
    assert stream.getvalue().count(ODD) == 4


def test_progress_says_titles_and_paths_as_they_are_and_in_one_line(stream: io.StringIO) -> None:
    progress = ConsoleProgress(console_on(stream))
    progress.say(f"{'x' * 200}/{ODD}: done before")
    with progress.track(ODD, 2, "sample") as track:
        track.update(2)
    said, tracked = stream.getvalue().splitlines()
    assert said == f"{'x' * 200}/{ODD}: done before"
    assert tracked.startswith(f"{ODD}: 2/2")


def test_commands_to_copy_are_quoted_for_the_shell() -> None:
    line = command("show", Path("a b/$x 'y'"), "--png", "network.png")
    assert shlex.split(line) == ["rayspin", "show", "a b/$x 'y'", "--png", "network.png"]
