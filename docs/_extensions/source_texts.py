"""The texts of the messages in the source of the package: a small interpreter of the assignments of strings.

It follows the statements of each function, and knows which texts a name may have where a message is made: by `if` and
`try`, by the returns of functions that are called, and by the arguments of calls of the function. What is only known
when the program runs is shown as `...`.
"""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path

import rayspin

UNKNOWN = "..."
"""Stands for a text that is known when the program runs."""

_DEFAULT = "\0"
"""Stands for the default of a parameter."""

_ERRORS = {"RayspinError", "Finding"}
"""Classes whose arguments are (place, problem, remedy); subclasses are found."""

_WARNINGS = {"click.BadParameter", "warnings.warn"}
"""Functions whose first argument is a message "problem; remedy"."""

_TEXT_FUNCTIONS = {("reconstruction.trust", "contradiction")}
"""Functions that return such a message, which is issued elsewhere."""

_MOST = 24
"""An expression with more alternatives than this is shown as unknown."""

_MOST_FILLED_IN = 6
"""An f-string whose parts have more combinations than this is shown with unknown parts."""

_ROUNDS = 4
"""Calls through which the texts of arguments are followed."""

_DEEPEST = 3
"""Calls through which the texts of returns are followed."""

Texts = tuple[str, ...]
Names = dict[str, Texts]
"""The texts that each name may have."""

_NOTHING: Texts = (UNKNOWN,)


def messages_in_source() -> list[tuple[str, str, str]]:
    """Return module, problem and remedy of each message, in order of modules."""
    package = _Package.read()
    found: list[tuple[str, str, str]] = []
    for _ in range(_ROUNDS):
        package.forget_calls()
        found = [(name, *pair) for name, module in package.modules.items() for pair in _Reader(package, module).read()]
    return found


@dataclass
class _Module:
    """A module and what it defines at its top level; functions and properties also of its classes."""

    name: str
    tree: ast.Module
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    properties: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)

    def index(self) -> None:
        """Fill in the definitions from the tree."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
                (self.properties if is_property else self.functions).setdefault(node.name, node)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rayspin."):
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (str(node.module)[len("rayspin.") :], alias.name)
        for node in self.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.constants |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}


@dataclass
class _Package:
    """All modules, and the texts with which their functions are called."""

    modules: dict[str, _Module]
    errors: set[str]
    owners: dict[str, list[_Module]] = field(default_factory=dict)
    parameters: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    calls: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    expressions: dict[ast.stmt, tuple[list[ast.NamedExpr], list[ast.Call]]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> _Package:
        """Parse the package."""
        root = Path(rayspin.__file__).parent
        modules = {}
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
            modules[name] = _Module(name, ast.parse(path.read_text(encoding="utf-8")))
            modules[name].index()
        errors = set(_ERRORS)
        classes = [node for one in modules.values() for node in ast.walk(one.tree) if isinstance(node, ast.ClassDef)]
        while new := {c.name for c in classes if {ast.unparse(base) for base in c.bases} & errors} - errors:
            errors |= new
        package = cls(modules, errors)
        for module in modules.values():
            for name in module.functions:
                package.owners.setdefault(name, []).append(module)
        return package

    def expressions_of(self, statement: ast.stmt) -> tuple[list[ast.NamedExpr], list[ast.Call]]:
        """Return the assignments and the calls in the expressions of a statement."""
        if statement not in self.expressions:
            nodes = list(_walk(statement))
            named = [node for node in nodes if isinstance(node, ast.NamedExpr)]
            self.expressions[statement] = named, [node for node in nodes if isinstance(node, ast.Call)]
        return self.expressions[statement]

    def forget_calls(self) -> None:
        """Use the arguments of the calls found so far as the values of parameters."""
        self.parameters, self.calls = self.calls, {}

    def find(self, module: _Module, name: str) -> tuple[_Module, str]:
        """Return the module that defines a name, and the name there."""
        seen = set()
        while name not in module.functions and name not in module.constants and name in module.imported:
            if (module.name, name) in seen:
                break
            seen.add((module.name, name))
            source, name = module.imported[name]
            if source not in self.modules:
                break
            module = self.modules[source]
        return module, name

    def constant(self, module: _Module, name: str) -> ast.expr | None:
        """Return the value of a constant that a module defines or imports."""
        module, name = self.find(module, name)
        return module.constants.get(name)

    def function(self, module: _Module, called: ast.expr) -> tuple[_Module, ast.FunctionDef] | None:
        """Return the function of the package that a call calls, if that can be told from its name."""
        if isinstance(called, ast.Name):
            where, name = self.find(module, called.id)
            return (where, where.functions[name]) if name in where.functions else None
        if isinstance(called, ast.Attribute):
            if isinstance(called.value, ast.Name) and called.value.id == "self" and called.attr in module.functions:
                return module, module.functions[called.attr]
            owners = self.owners.get(called.attr, [])
            # A method is told by its name alone.
            return (owners[0], owners[0].functions[called.attr]) if len(owners) == 1 else None
        return None


class _Reader:
    """Follows the assignments of texts through the functions of a module."""

    def __init__(self, package: _Package, module: _Module, depth: int = 0) -> None:
        self.package, self.module, self.depth = package, module, depth
        self._follow_calls = True
        self.found: list[tuple[str, str]] = []
        self.returned: list[str] = []

    def read(self) -> Iterator[tuple[str, str]]:
        """Return the problem and the remedy of each message of the module."""
        for statement in self.module.tree.body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                self._statement(statement, {})
        for module, name in _TEXT_FUNCTIONS:
            if module == self.module.name:
                function = self.module.functions[name]
                self.found += [_parts(text) for text in self._returns(self.module, function, {})]
        for problem, remedy in self.found:
            if problem.strip(" .:") or remedy.strip(" .:"):
                yield " ".join(problem.split()), " ".join(remedy.split())

    def _returns(self, module: _Module, function: ast.FunctionDef, names: Names) -> Texts:
        """Return the texts that a function returns, with `names` as its arguments."""
        reader = _Reader(self.package, module, self.depth + 1)
        reader._block(function.body, names)
        return tuple(dict.fromkeys(text for text in reader.returned if text not in ("", "None")))

    def _block(self, statements: Iterable[ast.stmt], names: Names | None) -> Names | None:
        """Follow statements, and return the names after them; None if they don't reach their end."""
        for statement in statements:
            if names is None:
                return None
            names = self._statement(statement, names)
        return names

    def _statement(self, node: ast.stmt, names: Names) -> Names | None:  # noqa: C901  one case for each statement
        if isinstance(node, ast.FunctionDef):
            if self.depth == 0:
                self._function(node, names)
            return names
        if isinstance(node, ast.ClassDef):
            self._block(node.body, dict(names))
            return names
        self._expressions(node, names)
        if isinstance(node, ast.If):
            return _merged([self._block(node.body, dict(names)), self._block(node.orelse, dict(names))])
        if isinstance(node, ast.For | ast.While):
            return _merged([names, self._block([*node.body, *node.orelse], dict(names))])
        if isinstance(node, ast.With):
            return self._block(node.body, names)
        if isinstance(node, ast.Match):
            return _merged([names, *(self._block(case.body, dict(names)) for case in node.cases)])
        if isinstance(node, ast.Try):
            return self._try(node, names)
        if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
            self.returned += self._texts(node.value, names)
        if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break):
            return None
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value, names)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = _joined([names.get(node.target.id, _NOTHING), self._texts(node.value, names)])
        return names

    def _try(self, node: ast.Try, names: Names) -> Names | None:
        inside = self._block(node.body, dict(names))
        failed = _merged([names, inside]) or names
        ends = [self._block(handler.body, dict(failed)) for handler in node.handlers]
        end = _merged([self._block(node.orelse, inside), *ends])
        after = self._block(node.finalbody, dict(end or names))
        return after if end is not None else None

    def _function(self, node: ast.FunctionDef, names: Names) -> None:
        """Follow a function, whose parameters have the texts of its calls."""
        given = self.package.parameters.get((self.module.name, node.name), {})
        inner = dict(names)
        for name, default in _parameters(node):
            texts = list(given.get(name, ()))
            if given and default is not None and _DEFAULT in texts:
                texts += self._texts(default, names)
            inner[name] = _few(dict.fromkeys(text for text in texts if text != _DEFAULT) or _NOTHING)
        self._block(node.body, inner)

    def _assign(self, target: ast.expr, value: ast.expr, names: Names) -> None:
        """Assign the texts of a value to a name, or those of a tuple to the names in a tuple."""
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, its in zip(target.elts, value.elts):
                self._assign(one, its, names)
        elif isinstance(target, ast.Name):
            names[target.id] = self._texts(value, names)
        elif isinstance(target, ast.Tuple):
            names |= {one.id: _NOTHING for one in target.elts if isinstance(one, ast.Name)}

    def _expressions(self, statement: ast.stmt, names: Names) -> None:
        """Find the messages and the calls in a statement, but not in those inside it."""
        named, calls = self.package.expressions_of(statement)
        for one in named:
            names[one.target.id] = self._texts(one.value, names)
        if self.depth == 0:
            for call in calls:
                self.found += self._messages(call, names)
                self._note(call, names)

    def _messages(self, call: ast.Call, names: Names) -> Iterator[tuple[str, str]]:
        """Yield the problems and remedies of a message that a call makes."""
        name = _dotted(call.func)
        if name in self.package.errors and len(call.args) == 3:
            problem, remedy = call.args[1:]
            by_number = dict(self._by_error_number(remedy, names))
            yield from by_number.items()
            remedies = self._default(remedy, names) if by_number else self._texts(remedy, names)
            place = self._texts(call.args[0], names)[0]
            for one, other in product(self._texts(problem, names), remedies):
                # A problem that is a text of another program is told by its place.
                placed = one == UNKNOWN != place and other != UNKNOWN and name != "Finding"
                yield f"{place}: {one}" if placed else one, other
        elif name in _WARNINGS:
            yield from (_parts(text.removeprefix("...: ")) for text in self._texts(call.args[0], names))
        elif name == "Fault":
            problems = [problem for problem in self._texts(call.args[3], names) if problem != UNKNOWN]
            yield from ((problem, "repair the dataset: rayspin repair ...") for problem in problems)

    def _by_error_number(self, remedy: ast.expr, names: Names) -> Iterator[tuple[str, str]]:
        """Yield the system's texts for error numbers, and the remedies that a table gives for them."""
        for value in _assigned_in(remedy, self.module):
            table = self._table_of(value)
            if table is not None:
                for key, text in zip(table.keys, table.values):
                    if isinstance(key, ast.Attribute) and ast.unparse(key.value) == "errno":
                        yield os.strerror(getattr(errno, key.attr)), self._texts(text, names)[0]

    def _default(self, remedy: ast.expr, names: Names) -> Texts:
        (value,) = _assigned_in(remedy, self.module)
        assert isinstance(value, ast.Call)
        return self._texts(value.args[1], names)

    def _table_of(self, node: ast.expr) -> ast.Dict | None:
        """Return the dictionary in which an expression looks up a value by `get`."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            return self._dictionary(node.func.value)
        return None

    def _dictionary(self, node: ast.expr) -> ast.Dict | None:
        found = self.package.constant(self.module, node.id) if isinstance(node, ast.Name) else None
        return found if isinstance(found, ast.Dict) else None

    def _note(self, call: ast.Call, names: Names) -> None:
        """Note the arguments of a call as texts of the parameters of the function."""
        found = self.package.function(self.module, call.func)
        if found is None or any(isinstance(argument, ast.Starred) for argument in call.args):
            return
        module, function = found
        noted = self.package.calls.setdefault((module.name, function.name), {})
        self._follow_calls = False
        for name, texts in self._arguments(function, call, names).items():
            noted.setdefault(name, []).extend(texts)
        self._follow_calls = True

    def _arguments(self, function: ast.FunctionDef, call: ast.Call, names: Names) -> Names:
        parameters = [name for name, _ in _parameters(function)]
        positional = parameters[isinstance(call.func, ast.Attribute) and parameters[:1] in (["self"], ["cls"]) :]
        given = dict(zip(positional, call.args)) | {str(one.arg): one.value for one in call.keywords}
        return {name: self._texts(given[name], names) if name in given else (_DEFAULT,) for name in parameters}

    def _texts(self, node: ast.expr, names: Names) -> Texts:
        """Return the texts that an expression may have, with `...` for its variable parts."""
        if isinstance(node, ast.Constant):
            return (node.value,) if isinstance(node.value, str) else _NOTHING
        if isinstance(node, ast.JoinedStr):
            return _joined([self._part(part, names) for part in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _joined([self._texts(node.left, names), self._texts(node.right, names)])
        if isinstance(node, ast.IfExp):
            return _few([*self._texts(node.body, names), *self._texts(node.orelse, names)])
        if isinstance(node, ast.BoolOp):
            return _few([text for value in node.values for text in self._texts(value, names)])
        if isinstance(node, ast.NamedExpr):
            return self._texts(node.value, names)
        if isinstance(node, ast.Name):
            return names.get(node.id) or self._constant(node)
        if isinstance(node, ast.Subscript) and (table := self._dictionary(node.value)) is not None:
            keys = [ast.unparse(key) for key in table.keys if key is not None]
            chosen = ast.unparse(node.slice)
            values = [table.values[keys.index(chosen)]] if chosen in keys else table.values
            return _few([text for value in values for text in self._texts(value, {})])
        if isinstance(node, ast.Attribute):
            return self._property(node)
        return self._called(node, names) if isinstance(node, ast.Call) else _NOTHING

    def _property(self, node: ast.Attribute) -> Texts:
        owners = [one for one in self.package.modules.values() if node.attr in one.properties]
        owner = self.module if self.module in owners else owners[0] if len(owners) == 1 else None
        if owner is None or self.depth >= _DEEPEST:
            return _NOTHING
        return _few(self._returns(owner, owner.properties[node.attr], {})) or _NOTHING

    def _constant(self, node: ast.Name) -> Texts:
        value = self.package.constant(self.module, node.id)
        if isinstance(value, ast.Constant) and isinstance(value.value, int):
            return (str(value.value),)
        return self._texts(value, {}) if isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp) else _NOTHING

    def _called(self, node: ast.Call, names: Names) -> Texts:
        """Return the texts of the result of a call."""
        name = _dotted(node.func)
        if name in ("command", "command_line"):
            return (f"rayspin {self._texts(node.args[0], names)[0]} ...",)
        if name == "next" and len(node.args) == 2 and isinstance(node.args[0], ast.GeneratorExp):
            return _few([*self._listed(node.args[0].generators[0].iter), *self._texts(node.args[1], names)])
        if not name and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            (joined,) = node.args
            return self._texts(joined.elt, names) if isinstance(joined, ast.GeneratorExp) else _NOTHING
        if (table := self._table_of(node)) is not None:
            default = self._texts(node.args[1], names) if len(node.args) > 1 else ()
            return _few([*(text for value in table.values for text in self._texts(value, {})), *default])
        found = self.package.function(self.module, node.func)
        if found is None or self.depth >= _DEEPEST or not self._follow_calls:
            return _NOTHING
        module, function = found
        given = self._arguments(function, node, names)
        known = {parameter: texts for parameter, texts in given.items() if texts != (_DEFAULT,)}
        return _few(self._returns(module, function, known)) or _NOTHING

    def _listed(self, node: ast.expr) -> Iterator[str]:
        """Yield the strings in a constant table."""
        table = self.package.constant(self.module, node.id) if isinstance(node, ast.Name) else None
        nodes = () if table is None else ast.walk(table)
        yield from (one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str))

    def _part(self, part: ast.expr, names: Names) -> Texts:
        """Return the texts of a part of an f-string; one that may be empty is shown at its full length."""
        if isinstance(part, ast.Constant):
            return (str(part.value),)
        assert isinstance(part, ast.FormattedValue)
        texts = self._texts(part.value, names)
        if part.format_spec is not None:
            return _NOTHING
        if part.conversion == ord("r"):
            # The value of a parameter is what a user gave, except where a caller in the package gives it.
            known = self.package.constant(self.module, part.value.id) if isinstance(part.value, ast.Name) else None
            texts = _NOTHING if known is None else tuple(map(repr, texts))
        return _NOTHING if UNKNOWN in texts else tuple(text for text in texts if text.strip()) or ("",)


def _dotted(node: ast.expr) -> str:
    """Return `name` or `module.name`; empty for other expressions."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _parts(text: str) -> tuple[str, str]:
    """Split a message into problem and remedy."""
    problem, _, remedy = text.partition("; ")
    return problem, remedy


def _parameters(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the names of the parameters of a function, and their defaults."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults: Sequence[ast.expr | None] = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    for one, default in [*zip(positional, defaults), *zip(given.kwonlyargs, given.kw_defaults)]:
        yield one.arg, default


def _walk(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, but not of the statements inside it."""
    left = list(ast.iter_child_nodes(statement))
    while left:
        node = left.pop(0)
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            continue
        yield node
        left += ast.iter_child_nodes(node)


def _assigned_in(node: ast.expr, module: _Module) -> list[ast.expr]:
    """Return the only value that a module assigns to a name; an expression that is no name is returned as it is."""
    if not isinstance(node, ast.Name):
        return [node]
    values = [
        one.value
        for one in ast.walk(module.tree)
        if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in one.targets)
    ]
    return values if len(values) == 1 else []


def _joined(parts: Sequence[Texts]) -> Texts:
    """Return all concatenations of one text of each part."""
    if prod(map(len, parts)) > _MOST_FILLED_IN:
        parts = [part if len(part) == 1 else _NOTHING for part in parts]
    return tuple(re.sub(r"\.{4,}", UNKNOWN, "".join(choice)) for choice in product(*parts))


def _few(texts: Iterable[str]) -> Texts:
    different = tuple(dict.fromkeys(texts))
    return different if len(different) <= _MOST else _NOTHING


def _merged(ends: Sequence[Names | None]) -> Names | None:
    """Return the names after branches, of which some may not reach their end (None)."""
    reached = [end for end in ends if end is not None]
    if not reached:
        return None
    names: Names = {}
    for name in dict.fromkeys(name for end in reached for name in end):
        names[name] = _few([text for end in reached for text in end.get(name, ())])
    return names
