"""The elements of an HTML page, for tests of reports."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from typing import Any

from PIL import Image

Attributes = dict[str, str]


class Page(HTMLParser):
    """The start tags of a page with their attributes, the text inside elements, and the charts.

    Attributes:
        elements: (tag, attributes) in order.
        texts: text inside each element, in the order of the ends of the elements, as (tag, attributes, text).
        errors: tags that were closed in the wrong order.
    """

    _EMPTY = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.texts: list[tuple[str, Attributes, str]] = []
        self.errors: list[str] = []
        self._open: list[tuple[str, Attributes, list[str]]] = []
        self.feed(text)
        self.close()
        self.errors += [tag for tag, _, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in self._EMPTY:
            self._open.append((tag, attributes, []))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.errors.append(tag)
            return
        _, attributes, parts = self._open.pop()
        self.texts.append((tag, attributes, " ".join("".join(parts).split())))

    def handle_data(self, data: str) -> None:
        for _, _, parts in self._open:
            parts.append(data)

    def all(self, tag: str, **wanted: str) -> list[Attributes]:
        """Return the attributes of all elements with this tag and these attributes."""
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def text(self, tag: str, **wanted: str) -> list[str]:
        """Return the text inside all elements with this tag and these attributes."""
        return [text for name, found, text in self.texts if name == tag and wanted.items() <= found.items()]

    def charts(self) -> dict[str, Any]:
        """Return the figure of each chart by the identifier of its element."""
        return {
            found["data-plot"]: json.loads(text)
            for name, found, text in self.texts
            if name == "script" and "data-plot" in found
        }


def decoded(uri: str) -> Image.Image:
    """Return the image in a data URI."""
    head, _, data = uri.partition(";base64,")
    assert head in {"data:image/png", "data:image/jpeg"}
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
