"""`rayspin init` writes files that are complete, valid and never overwrite others."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rayspin import job
from rayspin.cli import main
from rayspin.job import KINDS
from rayspin.jobs.generate.job import Generate
from rayspin.launch.job_requests import SiteProfile
from rayspin.launch.options import SubmitOptions
from rayspin.templates import WHAT, job_file, site_profile

_KEY = re.compile(r"^#([a-z][\w.]*) =(.*)", re.MULTILINE)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which is also the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def uncommented(text: str) -> str:
    """Return a template with all defaults set explicitly."""
    return re.sub(r"^#(?=[a-z][\w.]* = )", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_job_file_of_each_kind_is_valid(kind: str) -> None:
    result = init(kind)
    assert (result.exit_code, result.output) == (0, f"written: {kind}.toml\n")
    assert job.load(Path(f"{kind}.toml")).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_in_comments_are_the_defaults(kind: str) -> None:
    Path("short.toml").write_text(job_file(kind))
    Path("explicit.toml").write_text(uncommented(job_file(kind)))
    assert job.load(Path("explicit.toml")) == job.load(Path("short.toml"))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"tune", "pipeline"}))
def test_each_default_can_be_set_alone(kind: str) -> None:
    text = job_file(kind)
    Path("short.toml").write_text(text)
    expected = job.load(Path("short.toml"))
    for key, value in _KEY.findall(text):
        if value:
            assert job.load(Path("short.toml"), [f"{key}={value}"]) == expected, key


@pytest.mark.parametrize("kind", KINDS)
def test_job_file_names_each_key(kind: str) -> None:
    text = job_file(kind)
    keys = {key.partition(".")[0] for key, _ in _KEY.findall(text)} | tomllib.loads(text).keys()
    assert keys == type(build(text)).model_fields.keys()


def build(text: str) -> job.Stage:
    Path("job.toml").write_text(text)
    return job.load(Path("job.toml"))


def test_generate_passes_check_and_names_its_default_folder() -> None:
    assert init("generate").exit_code == 0
    checked = CliRunner().invoke(main, ["check", "generate.toml"])
    assert checked.exit_code == 0, checked.output
    assert isinstance(build(checked.output), Generate)
    for kind in set(KINDS) - {"generate", "tune", "pipeline"}:
        folders = set(re.findall(r'"(runs/[\w-]+)"', re.sub("^#.*", "", job_file(kind), flags=re.M)))
        assert folders & {"runs/generate", "runs/microscope-images"}
        written = ("generate", "generate-in-a-field", "train-fcn", "train-sr", "microscope-images")
        assert folders <= {f"runs/{name}" for name in written}


def test_site_profile_is_valid_and_names_each_option(folder: Path) -> None:
    assert init("site").output == f"written: {folder}/home/.config/rayspin/site.toml\n"
    site = SiteProfile.read()
    assert site.options("generate") == SubmitOptions()
    names = {key for key, _ in _KEY.findall(site_profile())}
    assert names == SubmitOptions.model_fields.keys()
    Path("explicit.toml").write_text(re.sub(r"^#(?=\[kind|[a-z_]+ = )", "", site_profile(), flags=re.MULTILINE))
    explicit = SiteProfile.read(Path("explicit.toml"))
    assert explicit.options("tune") == SubmitOptions()
    assert explicit.options("generate").nodes == 8
    assert explicit.options("train-fcn").gpus_per_node == 4


def test_scripts_are_written_together() -> None:
    result = init("slurm")
    names = sorted(path.name for path in Path("slurm").iterdir())
    assert names == ["array.sbatch", "env.sh", "ray.sbatch", "train_gpu.sbatch"]
    assert result.output == "".join(f"written: slurm/{name}\n" for name in names)


@pytest.mark.parametrize("what", WHAT)
def test_an_existing_file_is_not_overwritten(what: str, folder: Path) -> None:
    assert init(what).exit_code == 0
    (first, *_), count = files(folder), len(files(folder))
    first.write_text("mine")
    for path in files(folder)[1:]:
        path.unlink()
    result = init(what)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"{first.name}: exists already, and is not overwritten; give another path with -o\n")
    assert [path.read_text() for path in files(folder)] == ["mine"]
    assert init(what, "-o", "other/place").exit_code == 0
    assert len(files(folder)) == count + 1


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_dangling_link_is_not_followed() -> None:
    Path("generate.toml").symlink_to("elsewhere.toml")
    assert init("generate").exit_code == 2
    assert not Path("elsewhere.toml").exists()


def test_unknown_template_and_unwritable_folder_are_refused_in_one_line() -> None:
    assert init("train").stderr == "KIND: unknown value 'train'; did you mean 'train-sr'?\n"
    Path("file").write_text("")
    result = init("generate", "-o", "file/generate.toml")
    assert result.exit_code != 0
    assert result.stderr.count("\n") == 1
