"""A thousand job files with random mistakes, each of which is accepted or refused in one line within seconds."""

from __future__ import annotations

import copy
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayspin.cli import main

JOBS = sorted((Path(__file__).parents[2] / "jobs" / "smoke").glob("*.toml"))
TEXTS = [path.read_text() for path in JOBS]
# Jobs that need no dataset occur more often, because they are checked further.
TEXTS += 3 * [text for text in TEXTS if '"runs/' not in text]

INTEGERS = st.sampled_from([0, 1, -1, 2, 3, 7, 16, 1000, 10**6, 10**9, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)])
FLOATS = st.sampled_from([0.0, -0.0, 1e-300, 1e300, -1e300, 0.5, 1.0, 1e10, float("inf"), float("nan")])
TEXT = st.sampled_from(
    ["", ".", "..", "/", "@", "@generate", "@train", "@generate/x", "~", "~nobody-there/x", "a\nb", "\x00", "\x1b[31m",
     "labyrinth", "domain", "[bold]", "x" * 300, "ä" * 100, "generate", "pipeline", "../x", "job.toml", "1-1-1"]
)  # fmt: skip
SCALARS = st.one_of(INTEGERS, FLOATS, TEXT, st.booleans(), st.dates(), st.times())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
WORDS = """
samples size seed shard_samples hamiltonian schedule variants grid splits storage derived resources dataset weights
network objective training stages space base datasets search asha metric goal mlflow iterations noise_amplitude epochs
batch_size learning_rate scale dmi exchange external_field boundary sweeps via kind method trials members interval
coarse x.y hamiltonian.dmi training.epochs
"""
KEYS = [*WORDS.split(), ""]
PIECES = [
    *("", "=", "[", "]]", '"', "'''", "\\", ".", "#", "\n", "\r", "\x00", "\ufeff", "{", "1e999"),
    *("9" * 30, "9" * 5_000, "[" * 300, "a." * 300, "0x" + "f" * 40),
]


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A valid job with up to four keys or values changed, added or removed."""
    table = tomllib.loads(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 4))):
        inner: Any = table
        while draw(st.booleans()) and (subtables := [value for value in inner.values() if isinstance(value, dict)]):
            inner = draw(st.sampled_from(subtables))
        existing = [key for key in inner if key]
        key = draw(st.sampled_from([*existing, *KEYS]))
        match draw(st.sampled_from(["set", "set", "drop", "move", "copy"])):
            case "set":
                inner[key] = draw(VALUES)
            case "drop":
                inner.pop(key, None)
            case "move" if key in inner:
                inner[draw(st.sampled_from(KEYS))] = inner.pop(key)
            case "copy":
                inner[key] = copy.deepcopy(table)
    return tomli_w.dumps(table)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A valid job file with parts of its text removed, repeated or replaced."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from([*PIECES, text[start:stop] * 2]))
        text = text[:start] + new + text[stop:]
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.mark.timeout(300)
@settings(max_examples=1_000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(tables(), texts()))
def test_job_file_is_accepted_or_refused_in_one_line_within_seconds(folder: Path, text: str) -> None:
    path = folder / "job.toml"
    path.write_bytes(text.encode("utf-8", "replace"))
    before = sorted(folder.iterdir())
    start = time.process_time()
    result = CliRunner().invoke(main, ["check", str(path), "--out", str(folder / "run")])
    seconds = time.process_time() - start
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 2)
    if result.exit_code:
        assert result.stdout == ""
        assert result.stderr.endswith("\n")
        assert result.stderr[:-1].isprintable()
    assert seconds < 5
    assert sorted(folder.iterdir()) == before
