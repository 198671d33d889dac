"""Renewal of a report while its runs are in progress."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rayspin.report.render import write_report


def watch(runs: Sequence[Path], out: Path, interval_s: float) -> None:
    """Write a page about runs again and again until none of them is in progress.

    Args:
        runs: folders of the runs.
        out: the HTML file.
        interval_s: seconds between two pages, and after which the page loads itself again.

    Raises:
        InputError: a folder holds no run, or its files are damaged.
        MachineError: the file cannot be written.
    """
    while not write_report(runs, out, interval_s):
        time.sleep(interval_s)
