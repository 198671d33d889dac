"""Networks on numpy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rayspin.arrays import channel_first, channel_last
from rayspin.errors import InputError, shown
from rayspin.physics.arguments import spin_field, whole


def apply(network: nn.Module, spins_NYXC: npt.ArrayLike, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """What a network in evaluation mode makes of spins, (N, Y, X, 3) to (N, Y', X', 3), on its device.

    Args:
        network: maps NCYX tensors to NCYX tensors.
        spins_NYXC: its input, channel-last; or one field (Y, X, 3), whose result is (Y', X', 3).
        batch_size: how many at a time: a bound on memory, without influence on the result.

    Raises:
        InputError: no network, no spins, a lattice that the network does not take, or a result that is not finite.
    """
    if not isinstance(network, nn.Module):
        raise InputError("network", f"{shown(network)} is none", "give one that load_weights returned")
    spins = spin_field(spins_NYXC)
    batch_size = whole("batch_size", batch_size, 1)
    # A degradation has no parameters.
    like = next(network.parameters(), torch.empty(0))
    network.eval()
    parts = []
    with torch.inference_mode():
        batches = spins.reshape(-1, *spins.shape[-3:])
        for start in range(0, len(batches), batch_size):
            # A copy: torch warns of memory that can't be written, as that of a mapped file.
            batch = np.array(batches[start : start + batch_size], dtype=np.float32, order="C")
            maps_NCYX = network(channel_first(torch.from_numpy(batch)).to(like))
            parts.append(channel_last(maps_NCYX).float().cpu().numpy())
    result: npt.NDArray[np.float32] = np.concatenate(parts)
    if not np.isfinite(result).all():
        raise InputError(
            "network", "gives values that are not finite", "look at its weights, or at the size of the spins"
        )
    return result if spins.ndim == 4 else result[0]
