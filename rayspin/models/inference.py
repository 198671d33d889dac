"""Networks on numpy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rayspin.arrays import channel_first, channel_last


def apply(network: nn.Module, spins_NYXC: npt.NDArray[np.float32], batch_size: int = 32) -> npt.NDArray[np.float32]:
    """What a network in evaluation mode makes of spins, (N, Y, X, 3) to (N, Y', X', 3), on its device.

    Args:
        network: maps NCYX tensors to NCYX tensors.
        spins_NYXC: its input, channel-last.
        batch_size: how many at a time: a bound on memory, without influence on the result.
    """
    device = next(network.parameters()).device
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(spins_NYXC), batch_size):
            batch = np.ascontiguousarray(spins_NYXC[start : start + batch_size], dtype=np.float32)
            parts.append(channel_last(network(channel_first(torch.from_numpy(batch)).to(device))).cpu().numpy())
    return np.concatenate(parts)
