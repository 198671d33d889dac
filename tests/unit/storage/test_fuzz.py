"""Whatever a ledger, a job or a shard holds, reading it ends in a result or in one line."""

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
LOOKS: tuple[Callable[[Path], object], ...] = (
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
    """The files by path hold something else for a while."""
    before = {path: Path(path).read_bytes() for path in files}
    try:
        for path, content in files.items():
            Path(path).write_bytes(content)
        yield
    finally:
        for path, content in before.items():
            Path(path).write_bytes(content)


def look_at(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for look in LOOKS:
            with suppress(RayspinError):
                look(folder)


SPOILED = (b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b"\0" * 64, b"\xff\xfe", b"1e999", b"NaN", b"\r", b"\n")


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What turns a file into a similar one: a few bytes changed, left out, put in, or the end cut off."""
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
    kinds = [draw(st.sampled_from(["flip", "cut", "leave out", "put in"])) for _ in places]
    texts = [draw(st.binary(max_size=8) | st.sampled_from(SPOILED)) for _ in places]

    def mutate(content: bytes) -> bytes:
        for place, kind, text in zip(places, kinds, texts):
            at = int(place * len(content))
            match kind:
                case "flip":
                    content = content[:at] + bytes(byte ^ 0x55 for byte in content[at : at + 2]) + content[at + 2 :]
                case "cut":
                    content = content[:at]
                case "leave out":
                    content = content[:at] + content[at + 5 :]
                case "put in":
                    content = content[:at] + text + content[at:]
        return content

    return mutate


@fuzzed
@given(mutate=mutations(), file=st.sampled_from(["ledger.jsonl", "job.toml", FIRST]))
def test_changed_files_end_in_a_result_or_one_line(dataset: Path, mutate: Callable[[bytes], bytes], file: str) -> None:
    path = dataset / file
    with changed(**{str(path): mutate(path.read_bytes())}):
        look_at(dataset)


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
def test_ledger_lines_with_a_checksum_and_other_values_end_so_too(
    dataset: Path, changes: dict[str, Any], line: int
) -> None:
    path = dataset / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[line]) | changes
    del entry["crc32"]
    checked = {**entry, "crc32": f"{zlib.crc32(json.dumps(entry).encode()):08x}"}
    lines[line] = json.dumps(checked).encode() + b"\n"
    with changed(**{str(path): b"".join(lines)}):
        look_at(dataset)


@fuzzed
@given(mutate=mutations())
def test_shards_that_the_ledger_knows_and_that_are_none_end_so_too(
    dataset: Path, mutate: Callable[[bytes], bytes]
) -> None:
    path, ledger = dataset / FIRST, dataset / "ledger.jsonl"
    content = mutate(path.read_bytes())
    record = replace(
        Catalog.entered(dataset).records[0], bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    with changed(**{str(path): content, str(ledger): ledger.read_bytes()}):
        LedgerWriter(dataset).record(record)
        look_at(dataset)


@pytest.mark.parametrize("file", ["ledger.jsonl", "job.toml", FIRST])
@pytest.mark.parametrize("there", ["folder", "pipe", "loop", "device"])
def test_what_is_no_regular_file_is_not_waited_for(dataset: Path, tmp_path: Path, file: str, there: str) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / "data"))
    path = folder / file
    path.unlink()
    match there:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "device":
            path.symlink_to("/dev/zero")
    look_at(folder)
    if file == FIRST:
        with pytest.raises(InputError):
            inspect_shard(path)
        assert [fault.first_sample for fault in verify(Catalog.entered(folder)).faults] == [0]


def test_metadata_nested_too_deep_are_a_fault_of_the_shard(dataset: Path, tmp_path: Path) -> None:
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
