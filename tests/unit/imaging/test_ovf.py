"""OVF files against texts written by hand after the format's description, and against themselves."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.imaging.ovf import read_ovf, write_ovf

HEADER_2 = """# OOMMF OVF 2.0
# Segment count: 1
# Begin: Segment
# Begin: Header
# Title: m ## a comment
# meshtype: rectangular
# meshunit: m
# xbase: 1e-9
# ybase: 1e-9
# zbase: 1e-9
# xnodes: 3
# ynodes: 2
# znodes: 1
# xstepsize: 2e-9
# ystepsize: 2e-9
# zstepsize: 2e-9
# xmin: 0
# ymin: 0
# zmin: 0
# xmax: 6e-9
# ymax: 4e-9
# zmax: 2e-9
# valuedim: 3
# valuelabels: m_x m_y m_z
# valueunits: 1 1 1
# End: Header
"""
# (x, y) of the node is (v_x, v_y) of the vector there.
VALUES = [[x, y, 0.5] for y in range(2) for x in range(3)]
FIELD_ZYXC = np.array(VALUES, np.float32).reshape(1, 2, 3, 3)


def framed(header: str, kind: str, data: bytes) -> bytes:
    return f"{header}# Begin: Data {kind}\n".encode() + data + f"\n# End: Data {kind}\n# End: Segment\n".encode()


TEXT = "\n".join(" ".join(map(str, vector)) for vector in VALUES).encode()
FLAT = [number for vector in VALUES for number in vector]
HEADER_1 = (
    HEADER_2.replace("OOMMF OVF 2.0", "OOMMF: rectangular mesh v1.0")
    .replace("# valuedim: 3\n", "# valueunit: A/m\n# valuemultiplier: 2.0\n")
    .replace(
        "# valuelabels: m_x m_y m_z\n# valueunits: 1 1 1\n", "# ValueRangeMinMag: 1e-08\n# ValueRangeMaxMag: 1.0\n"
    )
)


@pytest.mark.parametrize(
    ("content", "factor"),
    [
        (framed(HEADER_2, "Text", TEXT), 1),
        (framed(HEADER_2, "Binary 4", struct.pack("<19f", 1234567.0, *FLAT)), 1),
        (framed(HEADER_2, "Binary 8", struct.pack("<19d", 123456789012345.0, *FLAT)), 1),
        (framed(HEADER_1, "Text", TEXT), 2),
        (framed(HEADER_1, "Binary 4", struct.pack(">19f", 1234567.0, *FLAT)), 2),
        (framed(HEADER_1, "Binary 8", struct.pack(">19d", 123456789012345.0, *FLAT)), 2),
    ],
)
def test_vectors_are_read_with_x_fastest(tmp_path: Path, content: bytes, factor: int) -> None:
    (tmp_path / "m.ovf").write_bytes(content)
    np.testing.assert_array_equal(read_ovf(tmp_path / "m.ovf"), factor * FIELD_ZYXC)


@pytest.mark.parametrize("components", [1, 3])
def test_written_field_is_read_back(tmp_path: Path, components: int) -> None:
    field = np.random.default_rng(3).normal(size=(4, 6, components)).astype(np.float32)
    write_ovf(tmp_path / "m.ovf", field, "m")
    np.testing.assert_array_equal(read_ovf(tmp_path / "m.ovf"), field[None])
    header = (tmp_path / "m.ovf").read_bytes().partition(b"# Begin: Data")[0].decode()
    assert header.startswith("# OOMMF OVF 2.0\n")
    assert f"# valuelabels: {'m_x m_y m_z' if components == 3 else 'm_z'}\n" in header
    assert "# xnodes: 6\n# ynodes: 4\n# znodes: 1\n" in header


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no data of OVF"),
        (b"hello\n", "has no data of OVF"),
        (framed(HEADER_2.replace("# xnodes: 3\n", ""), "Text", TEXT), "its header is incomplete"),
        (framed(HEADER_2.replace("rectangular", "irregular"), "Text", TEXT), "a mesh irregular"),
        (framed(HEADER_2.replace("valuedim: 3", "valuedim: 2"), "Text", TEXT), "and 2 components"),
        (framed(HEADER_2, "Text", TEXT[:-4]), "has 17 numbers of 18"),
        # A product of nodes beyond 64 bits.
        (framed(re.sub("([xyz]nodes): .", r"\1: 4294967296", HEADER_2), "Text", TEXT), "has 18 numbers of 2376"),
        (framed(re.sub("([xyz]nodes): .", r"\1: 4294967296", HEADER_2), "Binary 4", b"\0" * 76), "of 2376"),
        (framed(HEADER_2, "Text", b"x" + TEXT), "aren't numbers"),
        (f"{HEADER_2}# Begin: Data Binary 4\n".encode() + b"\0" * 30, "ends after 7 of 19 numbers"),
        (framed(HEADER_2, "Binary 4", b"\0" * 76), "without the number that starts them"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "m.ovf").write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_ovf(tmp_path / "m.ovf")
