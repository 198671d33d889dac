"""The README and the documentation agree with the package: commands, job files, tables, messages and links."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rayspin import __version__
from rayspin.cli import main
from rayspin.errors import RayspinError
from rayspin.inputs import read_text
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


def test_each_message_has_a_cause_and_each_cause_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    made = import_module("error_messages")
    found, causes = made.messages(), made.causes()
    without = [f"{one.module}: {one.problem}" for one in found if made.cause_of(one, causes) is None]
    assert not without, f"add the cause of each of these messages to {made.CAUSES}: {without}"
    in_modules = {(one.module, one.problem) for one in found}
    several = {problem for problem, count in Counter(problem for _, problem in in_modules).items() if count > 1}
    known = in_modules | {(made.COMMON, problem) for problem in several}
    left = [f"{module}: {problem}" for module, problem in causes if (module, problem) not in known]
    assert not left, f"no such message is left in the source; remove its cause from {made.CAUSES}: {left}"
    assert set(made.most_common()) <= {one.problem for one in found}
    assert {made.topic_of(one.module) for one in found} == set(made.TOPICS)
    assert all(cause.endswith(".") and "|" not in cause for cause in causes.values())
    modules = list(dict.fromkeys(module for module, _ in causes if module != made.COMMON))
    assert modules == [module for module in dict.fromkeys(one.module for one in found) if module in modules]
    assert len(found) > 400


def test_messages_are_read_as_they_are_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Texts in variables, branches, helper functions, tables and arguments, compared with the errors themselves."""
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    found = {(one.module, one.problem): one.remedies for one in import_module("error_messages").messages()}
    monkeypatch.setenv("PATH", "")
    (tmp_path / "job.toml").touch()
    raised: dict[str, Callable[[], object]] = {
        "inputs": lambda: read_text(tmp_path, limit=9),
        "config": lambda: Hamiltonian.from_argument({"dmj": 1.0}, "hamiltonian"),
        "physics.hamiltonian": lambda: Hamiltonian.from_argument("labyrinht", "hamiltonian"),
        "physics.arguments": lambda: whole("threads", 0, 1),
        "job": lambda: load(tmp_path / "job.toml", ["size"]),
        "launch.scheduler": lambda: log_and_submit_time("1"),
        "rundir": lambda: write_text(tmp_path / "job.toml" / "file", ""),
    }
    for module, call in raised.items():
        with pytest.raises(RayspinError) as caught:
            call()
        fits = [
            remedies
            for (where, problem), remedies in found.items()
            if where == module and matches(problem, caught.value.problem)
        ]
        assert any(matches(one, caught.value.remedy) for remedies in fits for one in remedies), (module, caught.value)


def matches(shown: str, text: str) -> bool:
    """Return whether a text is shown, with `...` for parts of it but not for the whole."""
    return shown != "..." and re.fullmatch(".*".join(map(re.escape, shown.split("..."))), text) is not None


def test_install_page_names_each_extra() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in extras.keys() - {"test", "dev", "docs", "integrations"}:
        assert f"| `{extra}` |" in PAGES["docs/install.md"]


def test_version_is_that_of_the_citation() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["repository-code"] == GITHUB
    assert __version__ in CliRunner().invoke(main, ["--version"]).output
