"""The README, the pages of the documentation, and their code blocks."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.repository import REPOSITORY
from tests.support.runs import environment

DOCS = REPOSITORY / "docs"
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text()
    for path in (REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md")))
}
"""The texts of all pages by their paths in the repository."""


def blocks(language: str, text: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the commands of a page, in order."""
    return [shlex.split(line) for block in blocks("sh", text) for line in block.splitlines()]


def large(command: list[str]) -> bool:
    """Return whether a command runs a job of the repository that may take longer than a test; see `jobs/smoke`."""
    return command[:2] == ["rayspin", "run"] and Path(command[2]).parent == Path("jobs")


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**variables), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
