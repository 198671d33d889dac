"""Datasets are generated without PyTorch, and other commands report in one line that it is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.repository import SMOKE

WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "tensorboardX"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocked())
from rayspin.cli import main
main(sys.argv[1:])
"""


def rayspin(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_dataset_is_generated_verified_and_shown_without_torch(tmp_path: Path) -> None:
    small = ("--set", "samples=2", "--set", "shard_samples=2", "--set", "splits.test=1", "--set", "splits.validation=0")
    done = rayspin("run", SMOKE / "generate.toml", *small, "--shards", "1/1", "--out", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    for command in ("verify", "show", "status"):
        done = rayspin(command, tmp_path / "data")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("check", SMOKE / "train_fcn.toml"), ("schema",)])
def test_missing_torch_is_a_one_line_error(arguments: tuple[object, ...]) -> None:
    done = rayspin(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "torch: is not installed; install it with pip install 'rayspin[train]'\n"


def test_image_is_refined_without_torch(tmp_path: Path) -> None:
    levels = np.round(128 + 100 * np.sin(np.arange(32) / 3)).astype(np.uint8)
    Image.fromarray(np.tile(levels, (16, 1))).save(tmp_path / "image.png")
    done = rayspin("apply", "projections", tmp_path / "image.png", "--scale", 4, "--out", tmp_path / "fine.nc")
    assert done.returncode == 0, done.stderr
    assert "spins, 64 x 128" in done.stdout
