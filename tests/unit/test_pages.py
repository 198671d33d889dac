"""The README and the documentation agree with the package: commands, job files, tables, messages and links."""

from __future__ import annotations

import ast
import errno
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import CliRunner

from rayspin import __version__
from rayspin.cli import main
from rayspin.errors import RayspinError
from rayspin.job import KINDS, load
from rayspin.jobs.registry import build_stage
from rayspin.launch.job_requests import SiteProfile
from rayspin.launch.scheduler import log_and_submit_time
from rayspin.physics import Hamiltonian
from rayspin.physics.arguments import whole
from rayspin.rundir import write_text
from rayspin.storage import VARIABLES
from tests.support.pages import DOCS, PAGES, blocks, commands, large, run
from tests.support.repository import JOBS, REPOSITORY

GITHUB = "https://github.com/rayspin/rayspin"
FILES = f"{GITHUB}/blob/main/"
IMAGES = "https://raw.githubusercontent.com/rayspin/rayspin/main/"

README = PAGES["README.md"]
each_page = pytest.mark.parametrize("page", PAGES)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(PAGES.values()), flags=re.MULTILINE))
    assert {"quickstart", "test", "docs"} <= targets
    assert run(["make", "--dry-run", *sorted(targets)], REPOSITORY)


@each_page
def test_commands_are_make_or_rayspin(page: str) -> None:
    assert {command[0] for command in commands(PAGES[page])} <= {"make", "rayspin"}


@each_page
def test_large_jobs_are_valid_and_of_kinds_that_are_tested_at_a_small_size(page: str) -> None:
    small = {kind for path in (JOBS / "smoke").glob("*.toml") for kind in kinds(path)}
    for command in filter(large, commands(PAGES[page])):
        path = REPOSITORY / command[2]
        assert load(path)
        assert kinds(path) <= small


def kinds(path: Path) -> set[str]:
    """The kinds of job in a job file."""
    table = tomllib.loads(path.read_text())
    return {stage["kind"] for stage in (table, *table.get("stages", {}).values())}


@each_page
def test_job_files_and_profiles_are_valid(page: str, tmp_path: Path) -> None:
    for text in blocks("toml", PAGES[page]):
        if "kind" in (table := tomllib.loads(text)) and isinstance(table["kind"], str):
            build_stage(table, page)
        else:
            (tmp_path / "site.toml").write_text(text)
            SiteProfile.read(tmp_path / "site.toml")


def test_the_examples_of_reconstruction_predict_their_errors() -> None:
    example, fit = blocks("python", PAGES["docs/reconstruction.md"])
    *lines, error_and_prediction = example.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    error, predicted = eval(error_and_prediction, names)
    # Of 100 labyrinths at scale 8, the worst has an error of 2.1e-5.
    assert error < 3e-5
    assert 0.5 < predicted / error < 2
    assert names["result"].suspect is None  # type: ignore[attr-defined]

    line, strengths = fit.strip().splitlines()
    exec(line, names | {"coarse_images": names["coarse"]})
    assert "strength_errors" in strengths


def test_each_kind_of_job_command_and_variable_is_listed() -> None:
    page = PAGES["docs/jobs.md"]
    for kind in KINDS:
        assert f"| `{kind}` |" in page
    for command in main.commands:
        assert f"`rayspin {command}" in page
    rows = [
        f"| `{v.name}` | {', '.join(v.dimensions)} | {v.dtype} | {v.units} | {v.long_name} |"
        for v in VARIABLES.values()
    ]
    datasets = PAGES["docs/datasets.md"]
    (table,) = re.findall(r"<!-- variables -->\n(.*?)<!-- /variables -->", datasets, flags=re.DOTALL)
    assert table.splitlines()[2:] == rows


@each_page
def test_links_and_images_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        path = target.partition("#")[0]
        if path.startswith((FILES, IMAGES, f"{GITHUB}/tree/main/")):
            found = REPOSITORY / re.sub(r"^https://[^/]+/rayspin/rayspin/(blob/|tree/)?main/", "", path)
        elif path.startswith("http"):
            assert re.fullmatch(r"https?://[\w.-]+\.[a-z]+(/[\w./%+~-]*)?", path), target
            continue
        else:
            # Python Package Index shows the README without the files of the repository.
            assert page != "README.md", target
            found = (REPOSITORY / page).parent / path
        assert found.exists(), target


def test_each_page_is_in_a_table_of_contents() -> None:
    tables = [table for page in PAGES.values() for table in re.findall(r"^```{toctree}\n(.*?)^```", page, re.M | re.S)]
    listed = {Path(entry).name for table in tables for entry in table.split()}
    for path in DOCS.rglob("*.md"):
        assert path.stem in listed or path == DOCS / "index.md", path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes the list of messages."""
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    return import_module("error_messages")


def test_each_message_has_a_cause_and_each_cause_a_message(made: ModuleType) -> None:
    found = made.messages()
    without = [f"{one.module}: {one.problem}" for one in found if one.cause is None]
    assert not without, f"add the cause of each of these messages to {made.CAUSES}: {without}"
    known = {(one.module, one.problem) for one in found}
    modules = Counter(problem for _, problem in known)
    left = [
        f"{name}: {problem}"
        for name, table in made.tables().items()
        for problem in table
        if (modules[problem] < 2 if name == made.COMMON else (name, problem) not in known)
    ]
    assert not left, f"no such message is left in the source; remove its cause from {made.CAUSES}: {left}"
    assert set(made.most_common()) <= modules.keys()
    assert {made.topic_of(one.module) for one in found} == set(made.TOPICS)
    assert all(one.cause.endswith(".") and "|" not in one.cause for one in found)
    names = [name for name in made.tables() if name != made.COMMON]
    assert names == sorted(names)
    assert len(found) > 400


def test_each_message_that_is_written_down_with_its_remedies_is_in_the_source(made: ModuleType) -> None:
    """Its problem is that of a message that is read, or consists of texts of its module."""
    texts = {name: strings(tree) for name, tree in made.trees().items()}
    everywhere = "\n".join(texts.values())
    read = made.in_source()
    for module, table in made.tables().items():
        for problem, entry in table.items():
            if isinstance(entry, dict):
                is_read = any(module == name and made.fits(shown, problem) for name, shown in read)
                assert is_read or all(part in texts[module] for part in parts(problem)), f"{module}: {problem}"
                for remedy in [entry["remedy"]] if isinstance(entry["remedy"], str) else entry["remedy"]:
                    assert all(part in everywhere for part in parts(remedy)), f"{module}: {remedy}"


def strings(tree: ast.Module) -> str:
    """All strings of a module, and the texts of the system for the error numbers that it names."""
    texts = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return "\n".join([*texts, *(os.strerror(number) for number, name in errno.errorcode.items() if name in names)])


def parts(shown: str) -> list[str]:
    """The parts of a message between what is filled in, commands and punctuation."""
    return [part.strip() for part in re.split(r"\.\.\.|rayspin \w+|[,:;()]", shown)]


def test_messages_are_listed_as_they_are_raised(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "job.toml").touch()
    raised: dict[str, Callable[[], object]] = {
        "inputs": lambda: load(tmp_path),
        "config": lambda: Hamiltonian.from_argument({"dmj": 1.0}, "hamiltonian"),
        "physics.hamiltonian": lambda: Hamiltonian.from_argument("labyrinht", "hamiltonian"),
        "physics.arguments": lambda: whole("threads", 0, 1),
        "job": lambda: load(tmp_path / "job.toml", ["size"]),
        "launch.scheduler": lambda: log_and_submit_time("1"),
        "rundir": lambda: write_text(tmp_path / "job.toml" / "file", ""),
    }
    found = made.messages()
    for module, call in raised.items():
        with pytest.raises(RayspinError) as caught:
            call()
        problem, remedy = caught.value.problem, caught.value.remedy
        fitting = [one for one in found if one.module == module and made.fits(one.problem, problem)]
        remedies = [shown for one in fitting if one.problem != "..." for shown in one.remedies]
        assert any(shown != "..." and made.fits(shown, remedy) for shown in remedies), (module, caught.value)


def test_install_page_names_each_extra() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in extras.keys() - {"test", "dev", "docs", "integrations"}:
        assert f"| `{extra}` |" in PAGES["docs/install.md"]


def test_version_is_that_of_the_citation() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["repository-code"] == GITHUB
    assert __version__ in CliRunner().invoke(main, ["--version"]).output
