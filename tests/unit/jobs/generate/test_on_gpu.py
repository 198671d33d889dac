"""Shards generated on a GPU have the same bytes as on a CPU; a missing GPU is a one-line error."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.physics.gpu import available
from tests.support.simulated_gpu import ON_GPU, TWO_POINTS, simulate


def test_a_shard_made_on_a_gpu_has_the_bytes_of_a_cpu(tmp_path: Path) -> None:
    """Uses the CUDA simulator of Numba."""
    for folder in ("cpu", "gpu"):
        (tmp_path / folder).mkdir()
    ShardMaker(Generate.model_validate(TWO_POINTS), tmp_path / "cpu").work((0, 4))
    simulate("shard", str(tmp_path / "gpu"))
    [expected], [found] = ([*(tmp_path / folder).glob("*.nc")] for folder in ("cpu", "gpu"))
    assert found.read_bytes() == expected.read_bytes()


@pytest.mark.skipif(available(), reason="there is a GPU here")
def test_no_gpu_on_this_node_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device: no CUDA device is available; "):
        ShardMaker(*ON_GPU.maker(tmp_path))
