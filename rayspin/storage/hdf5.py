"""HDF5 and NetCDF-4 without file locks; and the machine's failure to read a file told apart from a damaged file.

Shards are written under another name, renamed when they are whole, and never change again: HDF5's own locks protect
nothing here, and NFS, DVS and some mounts of Lustre have none. Processes that must not work on the same folder claim it
(`rayspin.claims`), which does without locks where there are none.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayspin.errors import InputError, MachineError, RayspinError
from rayspin.paths import command

# The one switch that netCDF4 has. HDF5 looks at it when it is loaded, so h5py and netCDF4 are imported from here.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")

import h5py
import netCDF4

__all__ = ["h5py", "netCDF4", "opened", "reading"]

# Importing h5py first, it would not find the filters that come with netCDF4.
h5py.h5pl.prepend(os.fsencode(Path(netCDF4.__file__).parent / "plugins"))

_NO_FILE = {
    errno.ENOENT: "is missing",
    errno.ENOTDIR: "is missing",
    errno.ELOOP: "is a loop of links",
    errno.ENAMETOOLONG: "has too long a name",
}

# What h5py and numpy raise for a file whose metadata say what is not there, or can't be.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def reading(path: Path) -> Iterator[os.stat_result]:
    """The block reads the shard at `path`, through HDF5 or not; it is given what the system knows of the file.

    Raises:
        InputError: there is no regular file, or one that is no whole shard.
        MachineError: the system fails to read it, which says nothing of the file.
    """
    look, mend = command("verify", path.parent), command("repair", path.parent)
    remedy = f"{look} says what its dataset knows of it, {mend} mends that"
    try:
        # HDF5 would wait for ever at a pipe.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(str(path), "is no regular file", remedy)
        yield found
    except RayspinError:
        raise
    except OSError as error:
        if error.errno in _NO_FILE:
            raise InputError(str(path), _NO_FILE[error.errno], remedy) from None
        if error.errno is not None:
            where_it_lies = "look after that file system, and try again: the file itself may be sound"
            raise MachineError(str(path), os.strerror(error.errno), where_it_lies) from None
        raise _no_shard(path, error, remedy) from None
    except _DAMAGE as error:
        raise _no_shard(path, error, remedy) from None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, to read in the block; errors as of `reading`."""
    with reading(path), h5py.File(path, locking=False) as file:
        yield file


def _no_shard(path: Path, error: Exception, remedy: str) -> InputError:
    # Messages of HDF5 go over several lines.
    return InputError(str(path), f"no whole shard ({' '.join(str(error).split())})", remedy)
