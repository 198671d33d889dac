"""The distance over which the input of a convolutional network affects its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Step = Literal["convolution", "upsampling", "pooling"]
"""A 3x3 convolution, a nearest up-sampling x2, or a 3x3 pooling with stride 2."""


def reach(steps: Sequence[Step], patch: int = 1) -> int:
    """Return the largest distance along an axis between an output site and an input site that affects it, sites.

    Args:
        steps: steps of the longest path from the input to the output, in order.
        patch: side of the patches of sites that the pixels of the first and of the last step consist of.
    """
    period = 2 ** sum(step == "upsampling" for step in steps)
    farthest = 0
    for pixel in range(period):
        first = last = pixel
        for step in reversed(steps):
            if step == "upsampling":
                first, last = first // 2, last // 2
            elif step == "pooling":
                first, last = 2 * first, 2 * last
            if step != "upsampling":
                first, last = first - 1, last + 1
        # Between opposite corners of the patches.
        farthest = max(farthest, patch * (pixel - first) + patch - 1, patch * (last - pixel) + patch - 1)
    return farthest
