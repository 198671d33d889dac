"""Reading a dataset with arbitrary bytes in its ledger, job file or shards gives a result or a one-line error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rayspin.errors import InputError, RayspinError
from rayspin.jobs.generate.job import Generate
from rayspin.show import describe
from rayspin.storage import Catalog, LedgerWriter, ShardWriter, inspect_shard, open_dataset, shard_name, verify
from rayspin.storage.shards import read_shard
from tests.support import datasets

pytestmark = pytest.mark.timeout(120)

JOB = Generate.model_validate(
    {
        "samples": 4,
        "size": 4,
        "seed": 5,
        "shard_samples": 2,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 2, "quench_sweeps": 2},
        "grid": {"hamiltonian.dmi": [0.2, 0.3]},
        "splits": {"test": 1},
    }
)
FIRST = shard_name(0)
READERS: tuple[Callable[[Path], object], ...] = (
    lambda folder: verify(Catalog.entered(folder)),
    lambda folder: open_dataset(folder)["spins"].values,
    lambda folder: describe(folder, None),
    lambda folder: describe(folder / FIRST, None),
)
fuzzed = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "data"
    return datasets.make(JOB, folder)


@contextmanager
def changed(**files: bytes) -> Iterator[None]:
    """Replace the contents of files, given by path, and restore them at the end of the block."""
    before = {path: Path(path).read_bytes() for path in files}
    try:
        for path, content in files.items():
            Path(path).write_bytes(content)
        yield
    finally:
        for path, content in before.items():
            Path(path).write_bytes(content)


def read_in_all_ways(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reader in READERS:
            with suppress(RayspinError):
                reader(folder)


INVALID = (b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b"\0" * 64, b"\xff\xfe", b"1e999", b"NaN", b"\r", b"\n")


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Functions that change, remove or insert a few bytes of a file, or truncate it."""
    positions = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
    kinds = [draw(st.sampled_from(["flip", "truncate", "remove", "insert"])) for _ in positions]
    texts = [draw(st.binary(max_size=8) | st.sampled_from(INVALID)) for _ in positions]

    def mutate(content: bytes) -> bytes:
        for position, kind, text in zip(positions, kinds, texts):
            at = int(position * len(content))
            match kind:
                case "flip":
                    content = content[:at] + bytes(byte ^ 0x55 for byte in content[at : at + 2]) + content[at + 2 :]
                case "truncate":
                    content = content[:at]
                case "remove":
                    content = content[:at] + content[at + 5 :]
                case "insert":
                    content = content[:at] + text + content[at:]
        return content

    return mutate


@fuzzed
@given(mutate=mutations(), file=st.sampled_from(["ledger.jsonl", "job.toml", FIRST]))
def test_changed_files_give_a_result_or_a_one_line_error(
    dataset: Path, mutate: Callable[[bytes], bytes], file: str
) -> None:
    path = dataset / file
    with changed(**{str(path): mutate(path.read_bytes())}):
        read_in_all_ways(dataset)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.sampled_from(["spins", "energy", "sample"]), st.integers(-1, 2**40), max_size=3)
)


@fuzzed
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "file",
                "first_sample",
                "count",
                "bytes",
                "sha256",
                "values_sha256",
                "offsets",
                "entered",
                "seconds",
                "text",
            ]
        ),
        VALUES,
        min_size=1,
        max_size=3,
    ),
    line=st.integers(0, 2),
)
@example(changes={"offsets": {"spins": 2**40, "energy": 0}}, line=1)
@example(changes={"count": 10**15, "bytes": 10**16}, line=1)
@example(changes={"text": 'kind = "generate"\nsamples = 4\nsize = [4, 4]\nseed = 5'}, line=0)
def test_changed_ledger_values_give_a_result_or_a_one_line_error(
    dataset: Path, changes: dict[str, Any], line: int
) -> None:
    path = dataset / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[line]) | changes
    del entry["crc32"]
    checked = {**entry, "crc32": f"{zlib.crc32(json.dumps(entry).encode()):08x}"}
    lines[line] = json.dumps(checked).encode() + b"\n"
    with changed(**{str(path): b"".join(lines)}):
        read_in_all_ways(dataset)


@fuzzed
@given(mutate=mutations())
def test_recorded_but_changed_shards_give_a_result_or_a_one_line_error(
    dataset: Path, mutate: Callable[[bytes], bytes]
) -> None:
    path, ledger = dataset / FIRST, dataset / "ledger.jsonl"
    content = mutate(path.read_bytes())
    record = replace(
        Catalog.entered(dataset).records[0], bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    with changed(**{str(path): content, str(ledger): ledger.read_bytes()}):
        LedgerWriter(dataset).record(record)
        read_in_all_ways(dataset)


@pytest.mark.parametrize("file", ["ledger.jsonl", "job.toml", FIRST])
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "device"])
def test_reading_other_than_regular_files_does_not_block(dataset: Path, tmp_path: Path, file: str, kind: str) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / "data"))
    path = folder / file
    path.unlink()
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "device":
            path.symlink_to("/dev/zero")
    read_in_all_ways(folder)
    if file == FIRST:
        with pytest.raises(InputError):
            inspect_shard(path)
        assert [fault.first_sample for fault in verify(Catalog.entered(folder)).faults] == [0]


def test_deeply_nested_metadata_are_a_fault_of_the_shard(dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / "data"))
    values, attributes = read_shard(folder / FIRST)
    variables = Catalog.open(folder).variables
    for name in ("values_sha256", "parameters"):
        del attributes[name]
    for bad in ("[" * 20_000, "9" * 5000):
        writer = ShardWriter(attributes | {"hamiltonian": bad}, variables)
        LedgerWriter(folder).record(writer.write(folder / FIRST, values))
        (fault,) = verify(Catalog.entered(folder)).faults
        assert (fault.file, fault.as_written) == (FIRST, True)
        assert "\n" not in fault.problem
        assert len(fault.problem) < 300
