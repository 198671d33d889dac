"""Application of a function to images of any size: continuation beyond the edges, and tiles with a margin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Edges = Literal["periodic", "mirrored"]
"""What lies beyond the edges of an image: its other side, or its mirror image."""


@dataclass(frozen=True)
class Tiling:
    """How a function of images is applied to an image of any size.

    The function is applied to tiles with a margin on all sides, and the margin of its result is omitted. If the margin
    is at least the distance over which the function's input affects its output, the result doesn't depend on the tiles.

    Attributes:
        edges: how the image continues beyond its edges.
        margin: width of the margin around a tile, pixels; a multiple of `stride`.
        stride: number of which the sides of the function's images must be multiples.
        scale: pixels of the result per pixel of the image.
        side: largest side of a tile with its margins; a multiple of `stride`, greater than twice the margin.
    """

    edges: Edges
    margin: int
    stride: int = 1
    scale: int = 1
    side: int = 1024

    def apply(self, function: Callable[[Array], Array], image_YXC: Array) -> Array:
        """Return the result of the function for an image (Y, X, C): (scale Y, scale X, C').

        Args:
            function: maps (Y', X', C) to (scale Y', scale X', C').
            image_YXC: the image.
        """
        shape = image_YXC.shape[:2]
        if self.edges == "periodic" and all(side <= self.side and side % self.stride == 0 for side in shape):
            return function(image_YXC)
        result: Array | None = None
        for rows in self._spans(shape[0]):
            for columns in self._spans(shape[1]):
                tile = image_YXC[np.ix_(self._seen(rows, shape[0]), self._seen(columns, shape[1]))]
                values = function(tile)
                if result is None:
                    result = np.empty((shape[0] * self.scale, shape[1] * self.scale, values.shape[-1]), values.dtype)
                inside = tuple(self._scaled(self.margin, self.margin + len(span)) for span in (rows, columns))
                place = tuple(self._scaled(span.start, span.stop) for span in (rows, columns))
                result[place] = values[inside]
        assert result is not None
        return result

    def _spans(self, side: int) -> Iterator[range]:
        """Yield the pixels of each tile along an axis, without margins."""
        step = self.side - 2 * self.margin
        yield from (range(start, min(start + step, side)) for start in range(0, side, step))

    def _seen(self, span: range, side: int) -> npt.NDArray[np.intp]:
        """Return the pixels of a tile with its margins, extended to a multiple of the stride."""
        missing = -(len(span) + 2 * self.margin) % self.stride
        pixels = np.arange(span.start - self.margin, span.stop + self.margin + missing)
        if self.edges == "periodic":
            return pixels % side
        folded = pixels % (2 * side)
        return np.where(folded < side, folded, 2 * side - 1 - folded)

    def _scaled(self, start: int, stop: int) -> slice:
        return slice(self.scale * start, self.scale * stop)
