"""The README, other pages, and their code blocks."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.repository import REPOSITORY
from tests.support.runs import environment

README = (REPOSITORY / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the commands of a page, in order."""
    return [shlex.split(line) for block in blocks("sh", text) for line in block.splitlines()]


COMMANDS = commands(README)
"""The commands of the README, in order."""


def run(command: list[str], folder: Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
