"""What the README says is true: its commands run, its code runs, its links lead somewhere."""

from __future__ import annotations

import re
import tomllib

import pytest

from rayspin.job import KINDS
from rayspin.jobs.registry import build_stage
from rayspin.storage import VARIABLES
from tests.support.readme import COMMANDS, README, blocks, run
from tests.support.repository import REPOSITORY


@pytest.mark.parametrize("target", [command[1] for command in COMMANDS if command[0] == "make"])
def test_every_make_target_is_there(target: str) -> None:
    assert run(["make", "--dry-run", target], REPOSITORY)


def test_nothing_else_is_among_the_commands() -> None:
    assert {command[0] for command in COMMANDS} == {"make", "rayspin"}


def test_the_job_file_is_one() -> None:
    for text in blocks("toml"):
        build_stage(tomllib.loads(text), "README.md")


def test_every_kind_of_job_and_every_variable_is_named() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in README
    rows = [
        f"| `{v.name}` | {', '.join(v.dimensions)} | {v.dtype} | {v.units} | {v.long_name} |"
        for v in VARIABLES.values()
    ]
    (table,) = re.findall(r"<!-- variables -->\n(.*?)<!-- /variables -->", README, flags=re.DOTALL)
    assert table.splitlines()[2:] == rows


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert "docs/quickstart.png" in local
    for target in local:
        assert (REPOSITORY / target).exists(), target
