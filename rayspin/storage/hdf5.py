"""HDF5 and NetCDF-4 without file locks, and errors that distinguish a damaged file from a failure of the machine.

Shards are written to a temporary file, renamed when complete, and never modified afterwards. HDF5's file locks are
therefore unnecessary, and NFS, DVS and some Lustre mounts don't support them. Processes that must not work on the same
folder claim it (`rayspin.claims`), which also works without file locks.
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

# netCDF4 has no other way to turn locks off. HDF5 reads the variable when it is loaded, so h5py and netCDF4 must be
# imported through this module.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")

import h5py
import netCDF4

__all__ = ["h5py", "netCDF4", "opened", "reading"]

# When h5py is imported first, HDF5 doesn't find the compression filters that netCDF4 ships.
h5py.h5pl.prepend(os.fsencode(Path(netCDF4.__file__).parent / "plugins"))

_NO_FILE = {
    errno.ENOENT: "is missing",
    errno.ENOTDIR: "is missing",
    errno.ELOOP: "is a loop of symbolic links",
    errno.ENAMETOOLONG: "has a name that is too long",
}

# The errors that h5py and numpy raise for a file with damaged metadata.
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
    """Translate the errors of a block that reads the shard at `path`, through HDF5 or directly.

    Args:
        path: the shard.

    Yields:
        the status of the file.

    Raises:
        InputError: the file is missing, is not a regular file, or is not a complete shard.
        MachineError: the system fails to read the file, which may be intact.
    """
    folder = path.parent
    remedy = f"check the dataset with {command('verify', folder)}, then repair it with {command('repair', folder)}"
    try:
        # HDF5 would block forever on a named pipe.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(str(path), "is not a regular file", remedy)
        yield found
    except RayspinError:
        raise
    except OSError as error:
        if error.errno in _NO_FILE:
            raise InputError(str(path), _NO_FILE[error.errno], remedy) from None
        if error.errno is not None:
            where_it_lies = "check the file system and try again: the file itself may be intact"
            raise MachineError(str(path), os.strerror(error.errno), where_it_lies) from None
        raise _no_shard(path, error, remedy) from None
    except _DAMAGE as error:
        raise _no_shard(path, error, remedy) from None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open the HDF5 file at `path` for reading.

    Args:
        path: the shard.

    Raises:
        InputError: the file is missing, is not a regular file, or is not a complete shard.
        MachineError: the system fails to read the file, which may be intact.
    """
    with reading(path), h5py.File(path, locking=False) as file:
        yield file


def _no_shard(path: Path, error: Exception, remedy: str) -> InputError:
    # HDF5's messages span several lines.
    return InputError(str(path), f"is not a complete shard ({' '.join(str(error).split())})", remedy)
