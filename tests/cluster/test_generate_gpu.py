"""Generation on a GPU: the shards have the bytes of a CPU; where there is none, one line says so."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from rayspin import job
from rayspin.cluster.generate import Generate, ShardMaker
from rayspin.cluster.session import Session
from rayspin.errors import InputError, RunError
from rayspin.job import Context
from rayspin.physics.gpu import available
from tests.physics.test_gpu import simulate

TWO_POINTS = {
    "samples": 4,
    "size": 4,
    "seed": 5,
    "shard_samples": 4,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 2, "quench_sweeps": 2},
    "grid": {"hamiltonian.dmi": [0.5, 1.0]},
}
ON_GPU = Generate.model_validate(TWO_POINTS | {"resources": {"gpu": True}})


@pytest.mark.slow
def test_a_shard_made_on_a_gpu_has_the_bytes_of_a_cpu(tmp_path: Path) -> None:
    """On Numba's simulator of one."""
    for folder in ("cpu", "gpu"):
        (tmp_path / folder).mkdir()
    ShardMaker(Generate.model_validate(TWO_POINTS), tmp_path / "cpu").work((0, 4))
    simulate("tests.cluster.test_generate_gpu", str(tmp_path / "gpu"))
    [expected], [found] = ([*(tmp_path / folder).glob("*.nc")] for folder in ("cpu", "gpu"))
    assert found.read_bytes() == expected.read_bytes()


@pytest.mark.skipif(available(), reason="there is a GPU here")
def test_no_gpu_on_this_node_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device: no CUDA device can be used here; "):
        ShardMaker(ON_GPU, tmp_path)


@pytest.mark.ray
def test_no_gpu_in_the_session_is_one_clear_error(ray_session: Session, tmp_path: Path) -> None:
    if ray_session.gpus():
        pytest.skip("there is a GPU here")
    with pytest.raises(RunError, match=r"resources.gpu: no GPU is there; ask for nodes with GPUs, or leave it out"):
        job.run(ON_GPU, tmp_path / "data", Context(ray_session))


if __name__ == "__main__":
    # Words of random streams wrap around.
    warnings.filterwarnings("ignore", "overflow encountered in scalar", RuntimeWarning)
    ShardMaker(ON_GPU, Path(sys.argv[1])).work((0, 4))
