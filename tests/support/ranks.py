"""Training on two gloo ranks without Ray: the reference for a training with two workers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from rayspin.jobs.registry import build_stage
from rayspin.jobs.train.job import Training


def fit_on_two_ranks(stage: Training, folder: Path) -> None:
    """Train in two processes with one thread each, and write the same files to `folder` as a run does."""
    folder.mkdir()
    mp.spawn(_fit, args=(stage.to_table(), folder), nprocs=2)


def _fit(rank: int, table: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    stage = build_stage(table, "job")
    assert isinstance(stage, Training)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        stage.fit(Path(stage.dataset), folder, rank=rank, world_size=2)
    finally:
        # DDP objects form a reference cycle that holds the threads of the group. Without the collection they would be
        # destroyed too late, at the end of the interpreter.
        gc.collect()
        dist.destroy_process_group()
