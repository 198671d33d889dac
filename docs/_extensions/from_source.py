"""Directives whose content is made from the package: `job-reference`, `common-errors` and `error-messages`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from error_messages import CAUSES, TOPICS, Message, messages, most_common, topic_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import rayspin
from rayspin import job

_LARGE = 2**31
"""Limits from here on are not shown."""


class _Made(SphinxDirective):
    """A directive that is replaced by Markdown from `text`."""

    def text(self) -> str:
        """Return the Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        # Sphinx writes a page again only if a file that it depends on has changed.
        for path in (CAUSES, *Path(rayspin.__file__).parent.rglob("*.py")):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(self.text(), allow_section_headings=True)


class JobReference(_Made):
    """The keys of all kinds of job and of their tables."""

    def text(self) -> str:
        """Return a section for each kind of job, and one for each table that they contain."""
        kinds, tables = job.json_schema()["$defs"], {}
        lines = []
        for kind, schema in kinds.items():
            tables |= schema.get("$defs", {})
            lines += [f"## {kind}", "", f"({_target(kind)})=", "", _sentence(schema), "", *_keys(schema), ""]
        lines += ["## Tables", "", "Tables that are values of the keys above.", ""]
        for name, schema in sorted(tables.items()):
            if "properties" in schema and name not in {part.title() for part in kinds}:
                lines += [f"({_target(name)})=", "", f"### {name}", "", _sentence(schema), "", *_keys(schema), ""]
        return "\n".join(lines)


def _target(name: str) -> str:
    return f"job-{name.lower()}"


def _sentence(schema: Mapping[str, Any]) -> str:
    return " ".join(schema.get("description", "").split("\n\n")[0].split())


def _keys(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a definition list of the keys of a table."""
    for key, value in schema.get("properties", {}).items():
        if key != "kind":
            default = "required" if key in schema.get("required", ()) else f"default {_default(value)}"
            default = "" if default == "default " else f", {default}"
            yield f"`{key}` ({_type(value)}{default})"
            yield f": {' '.join(value.get('description', 'See that table.').split())}"
            yield ""


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None or "$ref" in value:
        return ""
    text = json.dumps(default)
    return f"`{text}`" if len(text) < 60 else ""


def _type(value: Mapping[str, Any]) -> str:
    """Return the type of a value in words, with its limits and links to tables."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{_target(name)})"
    if "anyOf" in value or "oneOf" in value:
        kinds = [_type(one) for one in value.get("anyOf", value.get("oneOf", ())) if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in value or "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}" if value.get("items") else "list"
    words = {"integer": "integer", "number": "number", "boolean": "`true` or `false`", "object": "table"}
    return words.get(value.get("type", ""), "string") + _limits(value)


def _limits(value: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f" {sign} {value[name]}" for name, sign in signs.items() if value.get(name, _LARGE) < _LARGE]
    return " and".join(limits)


class CommonErrors(_Made):
    """The messages that users meet most often, with their causes and remedies."""

    def text(self) -> str:
        """Return a table."""
        found = messages()
        return "\n".join(_table([one for problem in most_common() for one in found if one.problem == problem]))


class ErrorMessages(_Made):
    """All other messages of the package, with their causes and remedies."""

    def text(self) -> str:
        """Return a table for each topic."""
        common, lines = most_common(), []
        found = [message for message in messages() if message.problem not in common]
        for topic in TOPICS:
            lines += [f"### {topic}", "", *_table([one for one in found if topic_of(one.module) == topic]), ""]
        return "\n".join(lines)


def _table(found: Sequence[Message]) -> list[str]:
    """Return a table of messages; those with the same problem and the same cause share a row."""
    rows: dict[tuple[str, str | None], list[str]] = {}
    # Texts that any program may report come last.
    for message in sorted(found, key=lambda one: one.problem == "..."):
        row = rows.setdefault((message.problem, message.cause), [])
        row += [remedy for remedy in message.remedies if remedy != "..." and remedy not in row]
    lines = ["| problem | cause | remedy |", "|---|---|---|"]
    for (problem, cause), remedies in rows.items():
        shown = "*another text of the system*" if problem == "..." else _code(problem)
        lines.append(f"| {shown} | {_escaped(cause or '')} | {'<br>'.join(map(_code, remedies))} |")
    return lines


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


_COLON = "\ue000"
"""Stands in for colons in descriptions of attributes, where Napoleon would take what precedes one for a type."""


def _hide_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:  # noqa: ARG001
    if what == "attribute":
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _to_rst(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:  # noqa: ARG001
    """Escape what reStructuredText would interpret in docstrings, and keep formulas and tables as they are.

    Docstrings are plain text with code in single backticks: a bar is a magnitude, an indented block after a colon is a
    formula, and lines that start with a bar are a table.
    """
    found: list[str] = []
    table, formula_indent = False, _LARGE
    for index, line in enumerate(line.replace(_COLON, ":") for line in lines):
        starts_table = line.startswith("|") and not table
        table = line.startswith("|")
        if starts_table:
            found += ["::", ""]
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= formula_indent:
            formula_indent = _LARGE
        if table or formula_indent < _LARGE:
            found.append("    " * table + line)
        elif line.endswith(":") and not line.startswith((":", "..")) and _indented_block(lines[index + 1 :], indent):
            formula_indent = indent
            found.append(f"{_escaped(line)}:")
        else:
            found.append(_escaped(line))
    lines[:] = found


def _indented_block(following: list[str], indent: int) -> bool:
    """Return whether a blank line and a line that is indented by more than `indent` follow."""
    return len(following) > 1 and not following[0].strip() and following[1].startswith(" " * (indent + 1))


def _escaped(line: str) -> str:
    """Escape bars outside of code."""
    return "`".join(part if index % 2 else part.replace("|", "\\|") for index, part in enumerate(line.split("`")))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("job-reference", JobReference)
    app.add_directive("common-errors", CommonErrors)
    app.add_directive("error-messages", ErrorMessages)
    # Before and after Napoleon, which has the priority 500.
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _to_rst, priority=600)
    return {"parallel_read_safe": True}
