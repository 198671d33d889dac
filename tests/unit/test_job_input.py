"""What users write in job files and options, however odd: taken, or one line that names it, at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rayspin import job
from rayspin.cli import main
from rayspin.errors import InputError, RunError
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.generate.job import Generate
from rayspin.rundir import RunDir
from rayspin.storage import SPLITS, SplitCounts

pytestmark = pytest.mark.timeout(60)

GENERATE = 'kind = "generate"\nsamples = 4\nsize = 8\nhamiltonian = "labyrinth"\nschedule = { sweeps = 2 }\n'
TRAIN = 'kind = "train-fcn"\ndataset = "data"\n'
Check = Callable[..., Result]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """`rayspin check` of a job of this text, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(text: str | bytes, *options: str) -> Result:
        Path("job.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return CliRunner().invoke(main, ["check", "job.toml", *options])

    return run


def refusal(result: Result) -> str:
    """The one line that a command refused its input with."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def pipeline(name: str) -> str:
    return f'kind = "pipeline"\n[stages.{name}]\n{GENERATE}'


BAD_NAMES = [
    '"../../x"', '"/abs"', '"."', '".."', '""', '"a/b"', '"a\\nb"', '"a b"', '".hidden"', '"a."', '"-a"', "a" * 61,
    '"job.toml"', '"Job.TOML"', "submissions", '"summary.json"',
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_stage_whose_name_is_none_for_a_folder_is_refused(check: Check, name: str) -> None:
    assert "stages" in refusal(check(pipeline(name)))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_so_is_a_dataset_of_a_sweep(check: Check, name: str) -> None:
    sweep = f'kind = "tune"\n[space]\n"training.seed" = [1, 2]\n[base]\n{TRAIN}[datasets.{name}]\n{GENERATE}'
    assert "datasets" in refusal(check(sweep))


@pytest.mark.parametrize("name", ["a", "_", "9", "v1.2-b", "größe", "a" * 60, "datasets"])
def test_letters_digits_dashes_and_dots_inside_make_a_name(check: Check, name: str) -> None:
    result = check(pipeline(f'"{name}"'))
    assert result.exit_code == 0, result.output


def test_the_schema_for_editors_has_the_rule_of_names() -> None:
    definitions = job.json_schema()["$defs"]
    for table in (definitions["pipeline"]["properties"]["stages"], definitions["tune"]["properties"]["datasets"]):
        (pattern,) = table["patternProperties"]
        assert re.search(pattern, "generate-2.b")
        assert not re.search(pattern, "../../x")


def test_a_run_is_not_put_where_its_name_would_break_a_line(check: Check, tmp_path: Path) -> None:
    assert "cannot be printed" in refusal(check(GENERATE, "--out", "a\nb"))
    (tmp_path / "a\nb.toml").write_text(GENERATE)
    assert "cannot be printed" in refusal(CliRunner().invoke(main, ["check", "a\nb.toml"]))


def test_a_byte_order_mark_is_no_part_of_a_job(check: Check) -> None:
    assert check(b"\xef\xbb\xbf" + GENERATE.encode()).stdout == check(GENERATE).stdout != ""


def deep_pipelines(depth: int) -> str:
    tables, path = ['kind = "pipeline"'], "stages.a"
    for _ in range(depth):
        tables.append(f'[{path}]\nkind = "pipeline"')
        path += ".stages.a"
    return "\n".join([*tables, f"[{path}]", GENERATE])


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 2_000,
        "x = " + "[" * 200 + "]" * 200,
        "samples = " + "1" * 4_301,
        "samples = 0x" + "f" * 5_000,
        deep_pipelines(200),
        ".".join(["a"] * 20_000) + " = 1",
        f'"{"a" * 40_000}" = 1\n{GENERATE}',
        f'{GENERATE}[grid]\n"hamiltonian{".a" * 20_000}" = [1]',
        TRAIN + 'weights = "\\u0000"',
        'kind = "train-fcn"\ndataset = "~no-such-user/x"',
        f'kind = "train-fcn"\ndataset = "{"a" * 300}"',
        'kind = "train-fcn"\ndataset = "a\\u0000b"',
        'kind = "train-fcn"\ndataset = "a\\nb\\u001b[31m"',
        '"a\\nb" = 1\n' + GENERATE,
        "x" * (2**20 + 1),
    ],
    ids=lambda text: text[:20] if isinstance(text, str) else None,
)
def test_what_is_out_of_all_bounds_is_one_line(check: Check, text: str) -> None:
    line = refusal(check(text))
    assert len(line) < 7_000
    assert line[:-1].isprintable()


def test_pipelines_in_pipelines_are_taken_as_deep_as_files_go(check: Check) -> None:
    result = check(deep_pipelines(25))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        (".".join(["a"] * 2_000) + "=1", "is not a valid key"),
        ("samples=8\nfoo = 1", "more than one key"),
        ("samples=" + "1" * 4_301, "more than 64 bits"),
        ("samples=" + "[" * 2_000, "nested more than"),
        ("seed=\udcff", "not valid UTF-8"),
    ],
)
def test_a_setting_that_is_none_is_one_line(check: Check, setting: str, problem: str) -> None:
    assert problem in refusal(check(GENERATE, "--set", setting))


def test_what_is_no_file_is_not_waited_for(check: Check, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, problem in {"pipe": "is a pipe", "/dev/zero": "is a device", ".": "is a folder", "loop": "links"}.items():
        assert problem in refusal(CliRunner().invoke(main, ["check", path]))


def grid(values: int) -> str:
    listed = [round((number + 1) / values, 6) for number in range(values)]
    return f'"hamiltonian.dmi" = {listed}\n"hamiltonian.exchange" = {listed}\n'


@pytest.mark.parametrize(
    "text",
    [
        f"{GENERATE}[grid]\n{grid(3_000)}",
        f'kind = "tune"\n[base]\n{GENERATE}[space]\n{grid(3_000)}',
        f'kind = "tune"\n[base]\n{GENERATE}[space]\n"hamiltonian.dmi" = {list(range(30_000))}',
        f'kind = "tune"\nsearch = {{ method = "random", trials = {10**12} }}\n[base]\n{GENERATE}[space]\nseed = [1]',
        GENERATE.replace("samples = 4", f"samples = {10**12}"),
        GENERATE.replace("samples = 4", f"samples = {10**8}\nshard_samples = 1"),
        GENERATE.replace("size = 8", f"size = {2**31}"),
    ],
    ids=["points", "trials", "values", "draws", "samples", "shards", "size"],
)
def test_absurd_counts_are_refused_before_anything_is_counted_out(check: Check, text: str) -> None:
    refusal(check(text))


def test_a_training_on_as_many_samples_as_there_may_be_is_checked_without_listing_them(check: Check) -> None:
    data = GENERATE.replace("samples = 4", f"samples = {10**9}\nshard_samples = 1000").replace("size = 8", "size = 16")
    train = 'kind = "train-fcn"\ndataset = "@data"\n'
    text = f'kind = "pipeline"\n[stages.data]\n{data}splits = {{ validation = 10 }}\n[stages.train]\n{train}'
    result = check(text)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("samples", [1, 3, 5, 6, 100])
def test_the_sizes_of_splits_are_those_of_their_codes(samples: int) -> None:
    import numpy as np

    splits = SplitCounts(test=3, validation=2)
    codes = splits.codes(np.arange(samples)).tolist()
    assert splits.counts(samples) == {split: codes.count(code) for code, split in enumerate(SPLITS)}


def test_facts_of_a_dataset_still_to_be_made_are_those_of_its_splits(tmp_path: Path) -> None:
    data = Generate(samples=12, size=8, hamiltonian="labyrinth", splits={"test": 2, "validation": 3})
    facts = DatasetFacts.of("@data", RunDir.at(tmp_path), {"data": data})
    assert facts == DatasetFacts((8, 8), {"train": 7, "validation": 3, "test": 2}, frozenset({data.hamiltonian}))


def test_an_error_is_one_line_whatever_it_names() -> None:
    error = RunError("a\nb", "says \x1b[31mred\x1b[0m and \udcff", "x" * 10_000)
    assert str(error).isprintable()
    assert str(error).startswith(r"a\nb: says \x1b[31mred\x1b[0m and \udcff; xxx")
    assert len(str(error)) < 3_000
    assert str(InputError("größe", "±1", "≤ 2")) == "größe: ±1; ≤ 2"
