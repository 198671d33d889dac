"""Reports of runs in progress, interrupted, damaged and missing ones, and the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rayspin.claims import claim
from rayspin.cli import main
from rayspin.report import watch, write_report
from tests.support.every_kind import STAGES
from tests.support.html_pages import Page


@pytest.fixture
def copied(every_kind: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a stage to a folder that the test may change."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(every_kind / name, tmp_path / name))

    return copy


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Result]:
    """Run `rayspin report`, which writes to page.html."""
    return lambda *words: CliRunner().invoke(main, ["report", *map(str, words), "-o", str(tmp_path / "page.html")])


def refused(result: Result, *texts: str) -> None:
    """Assert that a command has ended with one line that has these texts."""
    assert result.exit_code == 2, result.output
    line, *others = result.stderr.splitlines()
    assert others == []
    for text in texts:
        assert text in line


def test_command_writes_the_page(report: Callable[..., Result], every_kind: Path, tmp_path: Path) -> None:
    result = report(every_kind / "generate")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"written: {tmp_path / 'page.html'}\n"
    assert Page((tmp_path / "page.html").read_text()).text("h1") == ["Report of generate"]


def test_folders_without_a_run_are_refused(report: Callable[..., Result], tmp_path: Path) -> None:
    refused(report(tmp_path), "no run in this folder", "give the folder of a run")
    refused(report(tmp_path / "nothing"), "no run in this folder")
    (tmp_path / "file").write_text("text")
    refused(report(tmp_path / "file"), str(tmp_path / "file"))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("stage", "file", "content"),
    [
        ("generate", "job.toml", b"kind = "),
        ("generate", "job.toml", b"\xff\xfe"),
        ("generate", "job.toml", b'kind = "unknown"'),
        ("train_fcn", "metrics.jsonl", b"{"),
        ("train_fcn", "metrics.jsonl", b'{"epoch": 1}\n'),
        ("evaluate_sr", "resolution.csv", b"scale,method\n4,network\n"),
        ("evaluate_sr", "resolution.png", b"no picture"),
        ("restoration", "frames-noise.npz", b"no frames"),
    ],
)
def test_damaged_runs_are_refused_in_one_line(
    report: Callable[..., Result], copied: Callable[[str], Path], stage: str, file: str, content: bytes
) -> None:
    path = copied(stage) / file
    path.write_bytes(content)
    refused(report(path.parent), str(path.parent))


def test_unfinished_runs_are_reported(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("generate")
    (folder / "summary.json").unlink()
    lines = (folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    (folder / "ledger.jsonl").write_text("".join(lines[:2]))
    assert write_report([folder], tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert page.text("span", **{"class": "state interrupted"}) == ["interrupted"]
    assert any(text.startswith("8 of 16 (50 %)") for text in page.text("td"))
    assert page.all("img")


def test_runs_without_results_yet_are_reported(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [copied(name) for name in ("generate", "train_fcn", "tune", "restoration", "robustness", "evaluate_sr")]
    for folder in folders:
        for path in folder.iterdir():
            if path.name != "job.toml":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert write_report(folders, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert len(page.text("span", **{"class": "state interrupted"})) == len(folders)
    assert page.charts() == {}


def test_stage_of_a_pipeline_is_compared_with_the_paper_as_in_the_pipeline(
    every_kind: Path, copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dataset, `@generate`, is another stage, whose Hamiltonian has published results."""

    def published(path: Path) -> list[str]:
        write_report([path], tmp_path / "page.html")
        return Page((tmp_path / "page.html").read_text()).text("h2", id="published")

    monkeypatch.chdir(every_kind / "evaluate_fcn")
    for path in (every_kind / "evaluate_fcn", Path(), Path("../evaluate_fcn")):
        assert len(published(path)) == 1
    # A copy elsewhere doesn't know its dataset, also in a folder of another pipeline or with a damaged job file.
    folder = copied("evaluate_fcn")
    for text in ("", 'kind = "pipeline"\n[stages.other]\n', "kind ="):
        (folder.parent / "job.toml").write_text(text)
        assert published(folder) == []


def test_damaged_lines_of_ledgers_are_skipped(copied: Callable[[str], Path], tmp_path: Path) -> None:
    ledgers = {"tune": "trials", "reconstruct": "shards", "robustness": "cases", "evaluate_fcn": "shares"}
    folders = [copied(stage) for stage in ledgers]
    write_report(folders, tmp_path / "whole.html")
    for folder, name in zip(folders, ledgers.values()):
        with (folder / f"{name}.jsonl").open("a") as stream:
            stream.write('{}\n{"event": "result", "trial": "x", "entered": ""}\n{"seconds": "1", "first": []}\n')
    write_report(folders, tmp_path / "page.html")
    whole, page = (Page((tmp_path / name).read_text()) for name in ("whole.html", "page.html"))
    assert page.text("td") == whole.text("td")


def test_pipeline_lists_stages_that_have_not_started(every_kind: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    folder.mkdir()
    shutil.copy(every_kind / "job.toml", folder)
    write_report([folder], tmp_path / "page.html")
    states = Page((tmp_path / "page.html").read_text()).text("span", **{"class": "state not-started"})
    assert len(states) == len(STAGES)


def test_pipeline_is_in_progress_while_a_stage_runs_as_a_separate_job(every_kind: Path, tmp_path: Path) -> None:
    """Such a job locks only the folder of its stage."""
    folder = tmp_path / "pipeline"
    shutil.copytree(every_kind / "train_fcn", folder / "train_fcn")
    shutil.copy(every_kind / "job.toml", folder)
    (folder / "train_fcn" / "summary.json").unlink()
    with claim(folder / "train_fcn"):
        assert not write_report([folder], tmp_path / "page.html", 5.0)
    page = Page((tmp_path / "page.html").read_text())
    assert page.text("span", **{"class": "state in-progress"}) == ["in progress"] * 2
    assert write_report([folder], tmp_path / "page.html", 5.0)
    page = Page((tmp_path / "page.html").read_text())
    assert page.text("span", **{"class": "state interrupted"}) == ["interrupted"] * 2


def test_page_of_a_run_in_progress_can_renew_itself(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("train_fcn")
    (folder / "summary.json").unlink()
    with claim(folder):
        assert not write_report([folder], tmp_path / "page.html", 5.0)
    page = Page((tmp_path / "page.html").read_text())
    assert page.text("span", **{"class": "state in-progress"}) == ["in progress"]
    (switch,) = page.all("input", id="renew")
    assert switch["data-seconds"] == "5.0"
    write_report([folder], tmp_path / "page.html", 5.0)
    assert Page((tmp_path / "page.html").read_text()).all("input", id="renew") == []


def test_watching_ends_with_the_runs(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("train_fcn")
    summary = (folder / "summary.json").read_bytes()
    (folder / "summary.json").unlink()
    states = []
    with claim(folder):

        def sleep(seconds: float) -> None:
            assert seconds == 3.0
            states.append(Page((tmp_path / "page.html").read_text()).all("span", **{"class": "state in-progress"}))
            if len(states) == 2:
                (folder / "summary.json").write_bytes(summary)

        monkeypatch.setattr("rayspin.report.renewal.time.sleep", sleep)
        watch([folder], tmp_path / "page.html", 3.0)
    assert all(states)
    page = Page((tmp_path / "page.html").read_text())
    assert page.text("span", **{"class": "state finished"}) == ["finished"]
