"""File systems without locks, and read errors of the machine, which are not reported as faults of the data."""

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

# A program that generates, verifies, reads and describes a dataset, and prints each result.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.rundir import RunDir
from rayspin.show import describe
from rayspin.storage import Catalog, open_dataset, verify, write_grid

folder = Path(sys.argv[1])
table = {"samples": 6, "size": 8, "shard_samples": 3, "hamiltonian": "labyrinth", "splits": {"test": 1}}
table |= {"schedule": {"sweeps": 5, "quench_sweeps": 5}, "storage": {"compression": sys.argv[2]}}
job = Generate.model_validate(table)
with RunDir.at(folder).claimed(job.identity()):
    make_here(job, folder)
print([fault.problem for fault in verify(Catalog.entered(folder)).faults])
print(open_dataset(folder)["spins"].values.shape)
print(describe(folder / "shard-00000003.nc", None)[1]["samples"])
write_grid(folder / "grid.nc", {"x": [1, 2]}, {"y": (("x",), np.zeros(2))}, {}, {})
"""


def generated(folder: Path) -> Path:
    datasets.make(SMALL, folder)
    return folder


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) is installed")
@pytest.mark.parametrize("refusal", ["ENOLCK", "EOPNOTSUPP", "EINVAL"])
def test_datasets_work_on_a_file_system_without_locks(tmp_path: Path, refusal: str) -> None:
    source, library = tmp_path / "locks.c", tmp_path / "locks.so"
    source.write_text(NO_LOCKS.replace("REFUSAL", refusal))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    compression = {"ENOLCK": "none"}.get(refusal, "zlib")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), compression]
    done = subprocess.run(
        command, env=os.environ | {"LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["[]", "(6, 8, 8, 3)", "3 to 5"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOLCK])
def test_system_error_states_that_the_file_may_be_intact(tmp_path: Path, code: int) -> None:
    shard = generated(tmp_path) / shard_name(0)
    message = f"{shard}: {os.strerror(code)}; check the file system and try again: the file itself may be intact"
    with pytest.raises(MachineError, match=f"^{re.escape(message)}$"), reading(shard):
        raise OSError(code, os.strerror(code))


@pytest.mark.skipif(os.getuid() == 0, reason="permissions do not restrict root")
def test_unreadable_shard_is_a_machine_error(tmp_path: Path) -> None:
    folder = generated(tmp_path)
    (folder / shard_name(0)).chmod(0)
    for read in (lambda: verify(Catalog.entered(folder)), lambda: describe(folder / shard_name(0), None)):
        with pytest.raises(MachineError, match="Permission denied"):
            read()


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_remedy_for_a_damaged_shard_does_not_suggest_deletion(tmp_path: Path, damage: str) -> None:
    path = generated(tmp_path) / shard_name(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"truncated": content[:-100], "changed": content, "empty": b""}[damage])
    with pytest.raises(InputError) as caught:
        inspect_shard(path)
    assert "delete" not in str(caught.value)
    assert f"rayspin verify {tmp_path}" in caught.value.remedy
    assert "\n" not in str(caught.value)
