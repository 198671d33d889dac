"""Damages of .npy and .npz files, for which NumPy raises different errors."""

from __future__ import annotations

from collections.abc import Callable

_END = b"), }"


def _shape_ends_with(text: bytes) -> Callable[[bytes], bytes]:
    """Return a damage that puts a text, as long as up to 50 blanks, after the shape in the header of a .npy file."""

    def damage(content: bytes) -> bytes:
        old = _END + b" " * len(text)
        assert old in content
        return content.replace(old, text + _END, 1)

    return damage


def _data(content: bytes) -> bytes:
    """Overwrite the compressed data of the first member of a .npz file."""
    start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    return content[:start] + b"\xff" * 16 + content[start + 16 :]


def _compression(content: bytes) -> bytes:
    """Change the compression of the first member in the list at the end of a .npz file to an unknown one."""
    place = content.index(b"PK\x01\x02") + 10
    return content[:place] + b"\x09" + content[place + 1 :]


NPY: dict[str, Callable[[bytes], bytes]] = {
    "open bracket": _shape_ends_with(b"("),
    "shape beyond the memory": _shape_ends_with(b"9" * 13),
    "shape beyond 64 bits": _shape_ends_with(b"9" * 40),
    "archive": lambda content: b"PK\x03\x04" + content[4:],
    "cut off": lambda content: content[:-1],
    "empty": lambda content: b"",
}
NPZ: dict[str, Callable[[bytes], bytes]] = {
    "compressed data": _data,
    "unknown compression": _compression,
    "cut off": lambda content: content[:-1],
    "empty": lambda content: b"",
}
"""Damages of a compressed .npz file."""
