"""File systems without locks, and machines that fail to read: neither is told as a fault of the data."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rayspin.errors import InputError, MachineError
from rayspin.jobs.generate.job import Generate
from rayspin.show import describe
from rayspin.storage import Catalog, inspect_shard, shard_name, verify
from rayspin.storage.hdf5 import reading
from tests.support import datasets

SMALL = Generate.model_validate(
    {
        "samples": 6,
        "size": 8,
        "seed": 5,
        "shard_samples": 3,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 5, "quench_sweeps": 5},
        "splits": {"test": 1},
    }
)

NO_LOCKS = """
#include <errno.h>
int flock(int descriptor, int operation) { errno = REFUSAL; return -1; }
"""

# What a dataset goes through; each line says what it did.
LIFE = """
import sys
from pathlib import Path
import numpy as np
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.rundir import RunDir
from rayspin.show import describe
from rayspin.storage import Catalog, open_dataset, verify, write_grid

folder = Path(sys.argv[1])
asked = {"samples": 6, "size": 8, "shard_samples": 3, "hamiltonian": "labyrinth", "splits": {"test": 1}}
asked |= {"schedule": {"sweeps": 5, "quench_sweeps": 5}, "storage": {"compression": sys.argv[2]}}
job = Generate.model_validate(asked)
with RunDir.at(folder).claimed(job.identity()):
    make_here(job, folder)
print([fault.problem for fault in verify(Catalog.entered(folder)).faults])
print(open_dataset(folder)["spins"].values.shape)
print(describe(folder / "shard-00000003.nc", None)[1]["samples"])
write_grid(folder / "grid.nc", {"x": [1, 2]}, {"y": (("x",), np.zeros(2))}, {}, {})
"""


def made(folder: Path) -> Path:
    datasets.make(SMALL, folder)
    return folder


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) is installed")
@pytest.mark.parametrize("refusal", ["ENOLCK", "EOPNOTSUPP", "EINVAL"])
def test_a_file_system_without_locks_holds_datasets_like_any_other(tmp_path: Path, refusal: str) -> None:
    source, library = tmp_path / "locks.c", tmp_path / "locks.so"
    source.write_text(NO_LOCKS.replace("REFUSAL", refusal))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    compression = {"ENOLCK": "none"}.get(refusal, "zlib")
    command = [sys.executable, "-c", LIFE, str(tmp_path / "data"), compression]
    done = subprocess.run(
        command, env=os.environ | {"LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["[]", "(6, 8, 8, 3)", "3 to 5"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOLCK])
def test_a_failure_of_the_system_says_that_the_file_may_be_sound(tmp_path: Path, code: int) -> None:
    shard = made(tmp_path) / shard_name(0)
    said = f"{shard}: {os.strerror(code)}; check the file system and try again: the file itself may be intact"
    with pytest.raises(MachineError, match=f"^{re.escape(said)}$"), reading(shard):
        raise OSError(code, os.strerror(code))


@pytest.mark.skipif(os.getuid() == 0, reason="rights don't bind root")
def test_a_shard_that_may_not_be_read_is_no_faulty_shard(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / shard_name(0)).chmod(0)
    for look in (lambda: verify(Catalog.entered(folder)), lambda: describe(folder / shard_name(0), None)):
        with pytest.raises(MachineError, match="Permission denied"):
            look()


@pytest.mark.parametrize("harm", ["truncated", "changed", "empty"])
def test_no_remedy_for_a_damaged_shard_is_to_delete_it(tmp_path: Path, harm: str) -> None:
    path = made(tmp_path) / shard_name(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"truncated": content[:-100], "changed": content, "empty": b""}[harm])
    with pytest.raises(InputError) as caught:
        inspect_shard(path)
    assert "delete" not in str(caught.value)
    assert f"rayspin verify {tmp_path}" in caught.value.remedy
    assert "\n" not in str(caught.value)
