"""The README agrees with the package: commands, job files, tables and links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rayspin.job import KINDS
from rayspin.jobs.registry import build_stage
from rayspin.storage import VARIABLES
from tests.support.readme import COMMANDS, README, blocks, commands, run
from tests.support.repository import JOBS, REPOSITORY


@pytest.mark.parametrize("target", [command[1] for command in COMMANDS if command[0] == "make"])
def test_make_target_exists(target: str) -> None:
    assert run(["make", "--dry-run", target], REPOSITORY)


def test_commands_are_make_or_rayspin() -> None:
    assert {command[0] for command in COMMANDS} == {"make", "rayspin"}


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda path: path.name)
def test_commands_of_the_other_pages_run_jobs_that_are_tested_at_a_small_size(page: Path) -> None:
    small = {kind for path in (JOBS / "smoke").glob("*.toml") for kind in kinds(path)}
    for command in commands(page.read_text()):
        assert command[:2] == ["rayspin", "run"]
        assert kinds(REPOSITORY / command[2]) <= small


def test_the_first_example_of_reconstruction_predicts_its_error() -> None:
    page = (REPOSITORY / "docs" / "reconstruction.md").read_text()
    example = blocks("python", page)[0]
    *lines, error_and_prediction = example.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    error, predicted = eval(error_and_prediction, names)
    # Of 100 labyrinths at scale 8, the worst has an error of 2.1e-5.
    assert error < 3e-5
    assert 0.5 < predicted / error < 2
    assert names["result"].suspect is None  # type: ignore[attr-defined]


def kinds(path: Path) -> set[str]:
    """The kinds of job in a job file."""
    table = tomllib.loads(path.read_text())
    return {stage["kind"] for stage in (table, *table.get("stages", {}).values())}


def test_job_file_is_valid() -> None:
    for text in blocks("toml"):
        build_stage(tomllib.loads(text), "README.md")


def test_each_kind_of_job_and_each_variable_is_listed() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in README
    rows = [
        f"| `{v.name}` | {', '.join(v.dimensions)} | {v.dtype} | {v.units} | {v.long_name} |"
        for v in VARIABLES.values()
    ]
    (table,) = re.findall(r"<!-- variables -->\n(.*?)<!-- /variables -->", README, flags=re.DOTALL)
    assert table.splitlines()[2:] == rows


def test_local_links_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert "docs/quickstart.png" in local
    for target in local:
        assert (REPOSITORY / target).exists(), target
