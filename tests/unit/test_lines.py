"""Bounded reading of files with JSON lines, as in `rayspin.rundir` and the ledgers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.inputs import MissingFileError, raw_lines
from rayspin.rundir import append_lines, numbered_lines, read_lines


def test_raw_lines_keep_their_ends_and_are_limited_in_length(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one\n\nthree")
    assert list(raw_lines(tmp_path / "file", limit=5)) == [b"one\n", b"\n", b"three"]
    with pytest.raises(InputError, match="has a line of more than"):
        list(raw_lines(tmp_path / "file", limit=4))
    with pytest.raises(MissingFileError):
        list(raw_lines(tmp_path / "gone", limit=4))


def test_reading_other_than_regular_files_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError, match=r"is a (pipe|device|folder)"):
            list(numbered_lines(path))


def test_invalid_lines_are_skipped(tmp_path: Path) -> None:
    bad = [b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff", b"7", b"NaN", b""]
    (tmp_path / "file").write_bytes(b"\n".join([b'{"a": 1}', *bad, b'{"a": 2}']))
    lines = list(numbered_lines(tmp_path / "file"))
    assert [entry for _, entry in lines if entry is not None] == [{"a": 1}, {"a": 2}]
    assert [number for number, _ in lines] == list(range(1, 9))


def test_line_after_an_incomplete_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    append_lines(path, [{"a": 1}, {"a": 2}])
    path.write_bytes(path.read_bytes()[:-3])
    append_lines(path, [{"a": 3}])
    append_lines(path, [{"a": 4}], durably=False)
    assert list(read_lines(path)) == [{"a": 1}, {"a": 3}, {"a": 4}]
