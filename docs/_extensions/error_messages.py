"""The error messages of the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import rayspin


@dataclass(frozen=True)
class Message:
    """An error message in the source, with `...` for what is filled in.

    Attributes:
        module: name of the module below `rayspin`.
        problem: what is wrong.
        remedy: what to do about it.
    """

    module: str
    problem: str
    remedy: str


def messages() -> list[Message]:
    """Return the error messages of the package, in order of modules."""
    root = Path(rayspin.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        module = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for message in _messages_of(ast.parse(path.read_text()), module):
            found[message] = None
    return list(found)


def _messages_of(tree: ast.AST, module: str) -> Iterator[Message]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            assigned = list(_assignments(function))
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                    texts = [list(_texts(argument, assigned)) for argument in node.args]
                    if len(texts) == 3:
                        yield from (Message(module, *pair) for pair in product(*texts[1:]) if pair[0].strip(" ."))


def _assignments(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names and values of all assignments in a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _texts(node: ast.expr, assigned: list[tuple[str, ast.expr]]) -> Iterator[str]:
    """Yield the texts that an expression may have, with `...` for its variable parts."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    elif isinstance(node, ast.Name) and (values := [value for name, value in assigned if name == node.id]):
        for value in values:
            yield from _texts(value, [])
    else:
        yield "..."
