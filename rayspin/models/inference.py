"""Inference: networks applied to NumPy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rayspin.arrays import channel_first, channel_last
from rayspin.errors import InputError, shown
from rayspin.physics.arguments import spin_field, whole


def apply(network: nn.Module, spins_NYXC: npt.ArrayLike, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """Apply a network in evaluation mode, on its device.

    Args:
        network: a module that maps NCYX tensors to NCYX tensors; it is switched to evaluation mode.
        spins_NYXC: (N, Y, X, 3) spins, or a single field (Y, X, 3).
        batch_size: number of samples to process at a time; it bounds the memory and doesn't affect the result.

    Returns:
        the output, (N, Y', X', 3), or (Y', X', 3) for a single field, float32.

    Raises:
        InputError: the network or the spins are invalid, the network doesn't take the lattice, or the result is not
            finite.
    """
    if not isinstance(network, nn.Module):
        raise InputError("network", f"{shown(network)} is not a network", "give one that load_weights returned")
    spins = spin_field(spins_NYXC)
    batch_size = whole("batch_size", batch_size, 1)
    # A degradation has no parameters.
    like = next(network.parameters(), torch.empty(0))
    network.eval()
    parts = []
    with torch.inference_mode():
        batches = spins.reshape(-1, *spins.shape[-3:])
        for start in range(0, len(batches), batch_size):
            # Copied because torch warns about read-only memory, such as that of a memory-mapped file.
            batch = np.array(batches[start : start + batch_size], dtype=np.float32, order="C")
            maps_NCYX = network(channel_first(torch.from_numpy(batch)).to(like))
            parts.append(channel_last(maps_NCYX).float().cpu().numpy())
    result: npt.NDArray[np.float32] = np.concatenate(parts)
    if not np.isfinite(result).all():
        raise InputError("network", "its output is not finite", "check its weights and the magnitude of the spins")
    return result if spins.ndim == 4 else result[0]
