"""The messages that users meet, each with its cause and its remedies.

Calls of error classes, and of `Finding` of `rayspin doctor`, are read from the source, with `...` for what is filled
in. Messages whose texts come from elsewhere, such as a table, another function or a caller, are written down in
`CAUSES` with their remedies.

Left out, because they are not texts of this package or ask for nothing: usage errors of Click (an unknown option or
command, a missing argument), exceptions with a traceback, which are bugs, and the states of a submitted job in
`rayspin status`.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import rayspin

CAUSES = Path(__file__).parent.parent / "_data" / "causes.toml"
"""The cause of each message by module and problem, or a table of its cause and its remedy or remedies."""

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

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A message, with `...` for what is filled in.

    Attributes:
        module: name of the module below `rayspin`.
        problem: what is wrong.
        remedies: what to do about it; several if they depend on the circumstances.
        cause: why it is wrong; None if `CAUSES` does not have it.
    """

    module: str
    problem: str
    remedies: Texts
    cause: str | None


def messages() -> list[Message]:
    """Return the messages in order of modules.

    An entry of `CAUSES` with remedies replaces a message of the same module that is read from the source and differs
    from it only in what is filled in.
    """
    causes, found = tables(), []
    for module, entries in causes.items():
        for problem, entry in entries.items():
            if isinstance(entry, Mapping):
                remedy = entry["remedy"]
                remedies = (remedy,) if isinstance(remedy, str) else tuple(remedy)
                found.append(Message(module, problem, remedies, entry["cause"]))
    own = {(one.module, one.problem) for one in found}
    for (module, problem), remedies in in_source().items():
        if not any(module == place and fits(problem, text) for place, text in own):
            cause = causes.get(module, {}).get(problem) or causes[COMMON].get(problem)
            found.append(Message(module, problem, remedies, cause))
    return sorted(found, key=lambda one: one.module)


def tables() -> dict[str, dict[str, Any]]:
    """Return `CAUSES` without the most common problems."""
    causes = tomllib.loads(CAUSES.read_text(encoding="utf-8"))
    del causes[MOST_COMMON]
    return causes


def most_common() -> list[str]:
    """Return the problems that users meet most often."""
    return list(tomllib.loads(CAUSES.read_text(encoding="utf-8"))[MOST_COMMON])


def topic_of(module: str) -> str:
    """Return the topic of the messages of a module."""
    named = [
        (len(name), topic) for topic, names in TOPICS.items() for name in names if f"{module}.".startswith(f"{name}.")
    ]
    return max(named)[1]


def fits(shown: str, text: str) -> bool:
    """Return whether a text is a message that is shown with `...` for what is filled in."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), text) is not None


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax trees of the modules of the package, by name below `rayspin`."""
    root = Path(rayspin.__file__).parent
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for path, name in names.items()}


def in_source() -> dict[tuple[str, str], Texts]:
    """Return the remedies of the messages that can be read from the source, by module and problem."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for module, tree in trees().items():
        constants: dict[str, Texts] = {}
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(str() | int() as value)):
                    constants[name] = (str(value),)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for problem, remedy in _errors(function, dict(constants)):
                    found.setdefault((module, problem), {})[remedy] = None
    return {key: tuple(remedies) for key, remedies in found.items()}


def _errors(function: ast.FunctionDef, names: dict[str, Texts]) -> Iterator[tuple[str, str]]:
    """Yield the problems and remedies of the errors of a function; `names` has the texts of constants."""
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.Call)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        if isinstance(node, ast.Assign):
            # A name has the text that was last assigned to it above the error.
            names |= {target.id: _texts(node.value, names) for target in node.targets if isinstance(target, ast.Name)}
        elif len(node.args) == 3 and ast.unparse(node.func).endswith(("Error", "Incomplete", "Finding")):
            for problem, remedy in product(*(_texts(argument, names) for argument in node.args[1:])):
                if any(map(str.isalpha, problem)):
                    yield problem, remedy


def _texts(node: ast.expr, names: Mapping[str, Texts]) -> Texts:
    """Return the texts that an expression may have, with `...` for its variable parts."""
    match node:
        case ast.Constant(str() as text):
            return (text,)
        case ast.JoinedStr():
            parts = [_texts(part, names) for part in node.values]
            # A part that has several texts is shown as variable, which keeps the list short.
            text = "".join(part[0] if len(part) == 1 else "..." for part in parts)
            return (re.sub(r"\.{4,}", "...", text),)
        case ast.FormattedValue(conversion=-1, format_spec=None):
            return _texts(node.value, names)
        case ast.IfExp():
            return _texts(node.body, names) + _texts(node.orelse, names)
        case ast.BinOp(op=ast.Add()):
            return tuple(map("".join, product(_texts(node.left, names), _texts(node.right, names))))
        case ast.Name(name) if name in names:
            return names[name]
        case ast.Call(ast.Name("suggestion")):
            return ("did you mean ...?", "known: ...")
        case ast.Call(ast.Name("command" | "command_line"), [ast.Constant(str() as name), *_]):
            return (f"rayspin {name} ...",)
    return ("...",)
