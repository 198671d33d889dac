"""Reading and writing of OVF, the vector field format of OOMMF and mumax3.

Source: OOMMF User's Guide, section "OVF 2.0 format" (and 1.0), https://math.nist.gov/oommf. The value of x varies
fastest, then y, then z; y increases with the row, so the first row is the lowest of a picture.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.inputs import read_bytes
from rayspin.rundir import replacing

_LARGEST_BYTES = 2**34

_CHECKS = {4: 1234567.0, 8: 123456789012345.0}
"""The number before binary values, by their size in bytes; it tells their byte order."""

_REMEDY = "give a file of OVF 1.0 or 2.0 with a rectangular mesh"


def read_ovf(path: Path) -> npt.NDArray[np.float32]:
    """Read a vector field, or a field of one component.

    Args:
        path: a file of OVF 1.0 or 2.0 of one segment, text or binary, on a rectangular mesh.

    Returns:
        (Z, Y, X, 3) or (Z, Y, X, 1), float32, with the layers of the mesh along the first axis.

    Raises:
        InputError: the file isn't of this format, or is cut off.
    """
    try:
        return _field(path, read_bytes(path, limit=_LARGEST_BYTES, remedy=_REMEDY))
    except MemoryError:
        raise InputError(str(path), "doesn't fit into memory", "cut it into smaller fields") from None


def _field(path: Path, content: bytes) -> npt.NDArray[np.float32]:
    found = re.search(rb"^#\s*Begin:\s*Data\s+(Text|Binary\s+[48])[ \t]*\r?\n", content, re.IGNORECASE | re.MULTILINE)
    if found is None or not content.startswith(b"#"):
        raise InputError(str(path), "has no data of OVF", _REMEDY)
    header = _header(content[: found.start()])
    shape, factor = _shape(path, header)
    if found[1].lower() == b"text":
        values = _text(path, content[found.end() :], math.prod(shape))
    else:
        values = _binary(path, memoryview(content)[found.end() :], int(found[1][-1:]), math.prod(shape))
    field = values.reshape(shape)
    return (field if factor == 1 else factor * field).astype(np.float32)


def write_ovf(path: Path, field_YXC: npt.ArrayLike, title: str) -> None:
    """Write a field as OVF 2.0 with binary values of 4 bytes; a site has the side 1.

    Args:
        path: the file.
        field_YXC: (Y, X, 3), or (Y, X, 1) for one component.
        title: name of the quantity, in one word.

    Raises:
        MachineError: the file can't be written.
    """
    field = np.asarray(field_YXC, "<f4")
    rows, columns, components = field.shape
    labels = " ".join(f"{title}_{axis}" for axis in "xyz"[3 - components if components == 1 else 0 :])
    axes = (("x", columns), ("y", rows), ("z", 1))
    lines = [
        "OOMMF OVF 2.0",
        "Segment count: 1",
        "Begin: Segment",
        "Begin: Header",
        f"Title: {title}",
        "meshtype: rectangular",
        "meshunit: 1",
        *(f"{axis}min: 0" for axis, _ in axes),
        *(f"{axis}max: {nodes}" for axis, nodes in axes),
        f"valuedim: {components}",
        f"valuelabels: {labels}",
        f"valueunits: {' '.join('1' * components)}",
        *(f"{axis}base: 0.5" for axis, _ in axes),
        *(f"{axis}nodes: {nodes}" for axis, nodes in axes),
        *(f"{axis}stepsize: 1" for axis, _ in axes),
        "End: Header",
        "Begin: Data Binary 4",
    ]
    ends = ["End: Data Binary 4", "End: Segment"]
    with replacing(path) as temporary:
        data = np.array([_CHECKS[4]], "<f4").tobytes() + field.tobytes()
        temporary.write_bytes(_comments(lines) + data + b"\n" + _comments(ends))


def _comments(lines: list[str]) -> bytes:
    return "".join(f"# {line}\n" for line in lines).encode()


def _header(content: bytes) -> dict[str, str]:
    """Return the entries of the header by their lower-case names, and the format as "version"."""
    lines = [line.lstrip("# \t").strip() for line in content.decode("utf-8", "replace").splitlines()]
    pairs = (line.split("##")[0].partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs} | {"version": lines[0]}


def _shape(path: Path, header: Mapping[str, str]) -> tuple[tuple[int, ...], float]:
    """Return the shape of the data, and the factor of the values."""
    first = not header["version"].endswith("2.0")
    try:
        segments = int(header.get("segment count", "1"))
        nodes = tuple(int(header[f"{axis}nodes"]) for axis in "zyx")
        components = 3 if first else int(header["valuedim"])
        factor = float(header.get("valuemultiplier", "1")) if first else 1.0
    except (KeyError, ValueError) as error:
        raise InputError(str(path), f"its header is incomplete ({error})", _REMEDY) from None
    mesh = header.get("meshtype", "rectangular").lower()
    if segments != 1 or mesh != "rectangular" or components not in (1, 3) or min(nodes) < 1:
        problem = f"has {segments} segments, a mesh {mesh} of {nodes} nodes, and {components} components"
        raise InputError(str(path), problem, _REMEDY + ", and 1 or 3 components")
    return (*nodes, components), factor


def _text(path: Path, content: bytes, count: int) -> npt.NDArray[Any]:
    lines = (line for line in content.splitlines() if not line.lstrip().startswith(b"#"))
    try:
        values = np.array(b" ".join(lines).split(), np.float64)
    except ValueError as error:
        raise InputError(str(path), f"has data that aren't numbers ({error})", "copy it again") from None
    if values.size != count:
        raise InputError(str(path), f"has {values.size} numbers of {count}", "copy it again")
    return values


def _binary(path: Path, content: memoryview, size: int, count: int) -> npt.NDArray[Any]:
    if len(content) < size * (count + 1):
        raise InputError(str(path), f"ends after {len(content) // size} of {count + 1} numbers", "copy it again")
    for order in "<>":
        values = np.frombuffer(content, f"{order}f{size}", count + 1)
        if values[0] == _CHECKS[size]:
            return values[1:]
    raise InputError(str(path), "has binary data without the number that starts them", "copy it again")
