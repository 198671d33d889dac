"""The messages that users meet, read from the source of the package.

They are the errors of `rayspin.errors` and its subclasses, the parameters that the command line refuses, the warnings,
the faults that `rayspin verify` lists and the findings of `rayspin doctor`.

Left out, because they are not texts of this package or ask for nothing: usage errors of Click (an unknown option or
command, a missing argument), exceptions with a traceback, which are bugs, and the states of a submitted job in
`rayspin status`. An error that repeats the problem of another one under another name is listed once, where the problem
is found.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from source_texts import Texts, messages_in_source

CAUSES = Path(__file__).parent.parent / "_data" / "causes.toml"
"""The cause of each message, by module and problem."""

COMMON = "several modules"
"""Table of `CAUSES` for problems that several modules report for the same cause."""

MOST_COMMON = "most common"
"""List in `CAUSES` of the problems that users meet most often."""

TOPICS: Mapping[str, Sequence[str]] = {
    "Job files, keys and paths": ("config", "inputs", "job", "jobs.registry", "jobs.pipeline", "paths", "templates"),
    "Command line": ("cli", "launch.arguments", "show", "status", "execution.stopping", "output"),
    "Folders of runs and file systems": ("rundir", "claims"),
    "Datasets": ("jobs.generate", "storage", "rng"),
    "Ray, nodes and Slurm": ("execution", "launch"),
    "Networks and training": ("jobs.train", "training", "models"),
    "Sweeps": ("jobs.tune",),
    "Reconstruction": ("reconstruction", "jobs.reconstruct", "jobs.methods"),
    "Images and microscopes": ("imaging", "storage.images", "jobs.microscope", "application"),
    "Evaluations, reports and figures": ("jobs.evaluate", "jobs.stage", "report", "figure_files", "analysis"),
    "Simulation and physics": ("physics", "metrics"),
}
"""Modules by what a user was doing; a module that is named takes precedence over its package."""


@dataclass(frozen=True)
class Message:
    """A message in the source, with `...` for what is filled in.

    Attributes:
        module: name of the module below `rayspin`.
        problem: what is wrong.
        remedies: what to do about it; several if they depend on the circumstances.
    """

    module: str
    problem: str
    remedies: Texts


@cache
def messages() -> tuple[Message, ...]:
    """Return the messages of the package, in order of modules."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, problem, remedy in messages_in_source():
        found.setdefault((module, problem), []).append(remedy)
    return tuple(Message(*key, tuple(dict.fromkeys(remedies))) for key, remedies in found.items())


def causes() -> dict[tuple[str, str], str]:
    """Return the causes in `CAUSES` by (module or `COMMON`, problem)."""
    tables = tomllib.loads(CAUSES.read_text(encoding="utf-8"))
    del tables[MOST_COMMON]
    return {(module, problem): cause for module, table in tables.items() for problem, cause in table.items()}


def most_common() -> list[str]:
    """Return the problems that users meet most often."""
    return list(tomllib.loads(CAUSES.read_text(encoding="utf-8"))[MOST_COMMON])


def topic_of(module: str) -> str:
    """Return the topic of the messages of a module."""
    fits = [
        (len(name), topic) for topic, names in TOPICS.items() for name in names if f"{module}.".startswith(f"{name}.")
    ]
    return max(fits)[1]


def cause_of(message: Message, known: Mapping[tuple[str, str], str]) -> str | None:
    """Return the cause of a message from the table of its module or of `COMMON`; None if neither has it."""
    return known.get((message.module, message.problem)) or known.get((COMMON, message.problem))
