"""Bounded reading and parsing of input files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.inputs import MAX_DEPTH, MissingFileError, SyntaxInputError, parse_json, parse_toml, read_bytes, read_text

pytestmark = pytest.mark.timeout(20)


def test_text_is_read_through_links_and_without_its_byte_order_mark(tmp_path):
    (tmp_path / "job.toml").write_bytes(b"\xef\xbb\xbfkind = 1\r\nsize = 2\rseed = 3\n")
    (tmp_path / "link.toml").symlink_to("job.toml")
    assert read_text(tmp_path / "link.toml", limit=100) == "kind = 1\nsize = 2\nseed = 3\n"


@pytest.mark.parametrize("size", [0, 99, 100])
def test_file_up_to_the_size_limit_is_read(tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)
    assert read_bytes(tmp_path / "file", limit=100) == b"x" * size


def test_file_above_the_size_limit_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(InputError, match="is larger than 1 MiB"):
        read_bytes(tmp_path / "file", limit=2**20)


def test_reading_other_than_regular_files_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "pipe.toml").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        problems = {}
        for path in (tmp_path, *(tmp_path / name for name in ("pipe", "pipe.toml", "loop", "socket"))):
            with pytest.raises(InputError) as caught:
                read_text(path, limit=100)
            problems[path.name] = caught.value.problem
    assert problems == {
        tmp_path.name: "is a folder",
        "pipe": "is a pipe",
        "pipe.toml": "is a pipe",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "socket": "cannot be read (No such device or address)",
    }
    with pytest.raises(InputError, match="is a device"):
        read_text(Path("/dev/zero"), limit=100)


def test_invalid_path_is_refused(tmp_path):
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            read_text(tmp_path / name, limit=100)


def test_missing_file_has_its_own_error_with_the_given_name(tmp_path):
    with pytest.raises(MissingFileError, match=r"^the job: no such file; write one$"):
        read_text(tmp_path / "none", limit=100, where="the job", remedy="write one")


def test_file_in_place_of_a_folder_has_no_files(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError):
        read_text(tmp_path / "file" / "job.toml", limit=100)


def test_invalid_utf_8_is_refused_with_its_position(tmp_path):
    (tmp_path / "file").write_bytes(b"abc\xff")
    with pytest.raises(InputError, match=r"not valid UTF-8 \(byte 3\)"):
        read_text(tmp_path / "file", limit=100)


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 2_000, 100_000])
def test_lists_nested_beyond_the_limit_are_refused(depth):
    with pytest.raises(InputError, match="nested more than"):
        parse_toml(f"x = {_nested(depth)}", "job")
    with pytest.raises(InputError, match="nested more than"):
        parse_json(_nested(depth), "summary")


def test_lists_nested_up_to_the_limit_are_accepted():
    assert parse_json(_nested(MAX_DEPTH), "summary")
    # The table of the file counts as one level.
    assert parse_toml(f"x = {_nested(MAX_DEPTH - 1)}", "job")


@pytest.mark.parametrize("key", [".".join(["a"] * 20_000), '"a" . ' * 20_000 + "b", "'a'." * 20_000 + "b"])
def test_key_with_thousands_of_parts_is_refused(key):
    with pytest.raises(InputError, match="a key of more than"):
        parse_toml(f"{key} = 1", "job")


def test_strings_and_comments_with_many_dots_are_not_keys():
    numbers = ", ".join(["1.5"] * 1_000)
    text = f"x = [{numbers}] # {'a' * 300_000} {'. ' * 1_000}\ny = '{'../' * 1_000}'\n"
    assert parse_toml(text, "job")["x"] == [1.5] * 1_000


@pytest.mark.parametrize("number", ["9" * 4_301, "1" + "0" * 30, str(2**63), str(-(2**63) - 1), "0x" + "f" * 5_000])
def test_integer_of_more_than_64_bits_is_refused(number):
    with pytest.raises(InputError, match="more than 64 bits"):
        parse_toml(f"a = [{{ b = {number} }}]", "job")


def test_integers_of_64_bits_are_accepted():
    assert parse_toml(f"a = [{2**63 - 1}, {-(2**63)}]", "job") == {"a": [2**63 - 1, -(2**63)]}


def test_invalid_toml_and_json_have_their_own_error():
    with pytest.raises(SyntaxInputError, match=r"^job: not valid TOML: "):
        parse_toml("kind =", "job")
    for text in ("{", "9" * 5_000):
        with pytest.raises(SyntaxInputError, match=r"^summary: not valid JSON: "):
            parse_json(text, "summary")
