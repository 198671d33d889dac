"""The command `rayspin apply`: options, default files, and mistakes."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from rayspin.cli import main


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def apply(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["apply", *map(str, arguments)])


def message(*arguments: object) -> str:
    """Return the error of a call that must fail without writing anything."""
    before = set(Path().iterdir())
    done = apply(*arguments)
    assert done.exit_code == 2, done.output
    assert set(Path().iterdir()) == before
    assert "Traceback" not in done.output
    return done.output


def test_results_are_named_after_their_inputs(picture: Path) -> None:
    (picture.parent / "two.png").write_bytes(picture.read_bytes())
    done = apply("bicubic", "labyrinth.png", "two.png", "--scale", 2)
    assert done.exit_code == 0, done.output
    made = {f"{name}-result.{suffix}" for name in ("labyrinth", "two") for suffix in ("nc", "png")}
    assert made <= {path.name for path in Path().iterdir()}
    assert all(f"written: {name}" in done.output for name in made)


def test_results_of_equal_names_are_refused(picture: Path) -> None:
    (picture.parent / "other").mkdir()
    (picture.parent / "other" / picture.name).write_bytes(picture.read_bytes())
    told = message("bicubic", picture.name, f"other/{picture.name}", "--scale", 2)
    assert told.startswith(f"other/{picture.name}: its result would have the same name as that of {picture.name}")


def test_options_of_gray_levels_arrive(picture: Path) -> None:
    plain = ("bicubic", picture, "--scale", 2, "--out", "fine.nc")

    def component(*options: object) -> np.ndarray:
        assert apply(*plain, *options).exit_code == 0
        with netCDF4.Dataset("fine.nc") as file:
            return np.asarray(file["input"][0, ..., 0])

    known = component("--levels", 40, 200)
    with Image.open(picture) as image:
        gray = np.asarray(image, float)[::-1]
    np.testing.assert_allclose(known, np.clip((gray - 120) / 80, -1, 1), atol=1e-6)
    np.testing.assert_allclose(component("--levels", 40, 200, "--inverted"), -known, atol=1e-6)
    default = component()
    for options in (("--background", "none"), ("--percentiles", 10, 90), ("--smoothing", 4)):
        assert np.abs(component(*options) - default).max() > 1e-3


def test_mistakes_are_one_line_and_write_nothing(picture: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save("colors.png")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:300])
    Image.new("L", (4, 4)).save("animated.gif")
    np.save("nan.npy", np.full((4, 4, 3), np.nan))
    Path("folder").mkdir()
    for name, problem in (
        ("missing.png", "missing.png: is missing"),
        ("colors.png", "colors.png: has colors"),
        ("cut.png", "cut.png: is damaged"),
        ("animated.gif", "animated.gif: is not a file of images"),
        ("nan.npy", "nan.npy: image 0 has values that are not finite"),
        ("folder", "folder: "),
    ):
        assert message("labyrinth-field", name).startswith(problem)
    assert message("bicubic", picture, "--scale", 2, "--noise", "much").startswith("--noise: 'much' is not a number")
    assert message("bicubic", picture, "--scale", 2, "--out", picture).endswith("give another file with --out\n")
    assert message("bicubic", picture, "--scale", 2, "--out", "a.txt").startswith("a.txt: is a file of another kind")
    assert message("bicubic", picture, picture, "--scale", 2, "--out", "a.nc").startswith(
        "--out: names a single result"
    )
    assert message("bicubic", picture, picture, "--scale", 2, "--components").startswith(
        "--components: the inputs have the shapes"
    )
    assert "percentiles" in message("bicubic", picture, "--scale", 2, "--percentiles", 90, 10)


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["show", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize("what", ["bicubic", "labyrinth-field"])
def test_a_result_is_shown_and_drawn(picture: Path, what: str) -> None:
    scale = ("--scale", 2) if what == "bicubic" else ("--sites-per-pixel", 1)
    done = apply(what, picture, *scale, "--out", "fine.nc", "--out", "fine.png")
    assert done.exit_code == 0, done.output
    done = show("fine.nc", "--out", "shown.png")
    assert done.exit_code == 0, done.output
    assert "result of rayspin apply" in done.output
    assert f"{picture}" in done.output
    assert ("spins, 1 of 192 x 192, " if what == "bicubic" else "field, 1 of 96 x 96, three components") in done.output
    assert Path("shown.png").read_bytes() == Path("fine.png").read_bytes()


def test_other_netcdf_files_are_no_results(picture: Path) -> None:
    assert apply("bicubic", picture, "--scale", 2, "--out", "fine.nc").exit_code == 0
    with netCDF4.Dataset("fine.nc", "a") as file:
        file.renameVariable("input", "given")
    refused = show("fine.nc")
    assert refused.stderr == "fine.nc: is a damaged result of rayspin apply; apply to the input again\n"
    with netCDF4.Dataset("other.nc", "w"):
        pass
    refused = show("other.nc")
    assert refused.stderr.startswith("other.nc: is neither a shard nor a result of rayspin apply; read it with")
    assert refused.exit_code == 2
