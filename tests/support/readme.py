"""The README and its code blocks."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.repository import REPOSITORY
from tests.support.runs import environment

README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
"""The commands of the README, in order."""


def run(command: list[str], folder: Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
