"""The building blocks both networks are made of; all of them know that the lattice is periodic.

Tensors are NCYX in shape; in memory, components last (`torch.channels_last`) is the order that is fast, on
CPUs by a factor of two, and it is the one that spins are stored in. Every block keeps the order it is
given.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from rayspin.errors import InputError

_PATIENCE_S = 0.01
"""How long a rank on a CPU waits for the others awake."""


def check_spins(spins_NCYX: object, like: Tensor) -> None:
    """Raise InputError unless spins are a batch (N, 3, Y, X) of a network's type of number, on its device.

    Args:
        spins_NCYX: what the network is to work on.
        like: one of its parameters.
    """
    if not isinstance(spins_NCYX, Tensor):
        problem = f"are of type {type(spins_NCYX).__name__}, and the network takes tensors"
        raise InputError("spins", problem, "use rayspin.models.apply for arrays")
    if spins_NCYX.ndim != 4 or spins_NCYX.shape[1] != 3:
        raise InputError("spins", f"have shape {tuple(spins_NCYX.shape)}", "give (N, 3, Y, X), components first")
    if spins_NCYX.dtype != like.dtype or spins_NCYX.device != like.device:
        problem = f"are {spins_NCYX.dtype} on {spins_NCYX.device}, the network is {like.dtype} on {like.device}"
        raise InputError("spins", problem, "call spins.to(parameter) with one of its parameters")


def convolution_block(inputs: int, filters: int, activation: nn.Module, *, upsampling: bool = False) -> nn.Sequential:
    """Periodic padding, convolution 3x3, batch norm, activation: (N, inputs, Y, X) to (N, filters, Y, X).

    With `upsampling`, that of maps up-sampled x2 (nearest): to (N, filters, 2 Y, 2 X).
    """
    # Batch norm subtracts the mean, so a bias in front of it would have no effect.
    convolution = PeriodicConv(inputs, filters, bias=False, upsampling=upsampling)
    return nn.Sequential(convolution, BatchNorm(filters), activation)


class PeriodicConv(nn.Conv2d):
    """A 3x3 convolution on the periodic lattice: (N, inputs, Y, X) to (N, filters, Y, X).

    With `upsampling` the maps are up-sampled x2 (nearest) first: to (N, filters, 2 Y, 2 X). The two together are one
    transposed convolution, with 16 products where there would be 36, and without the large maps in between: 1.5 to 3
    times as fast with its gradient on a CPU.
    """

    def __init__(self, inputs: int, filters: int, *, bias: bool, upsampling: bool = False) -> None:
        super().__init__(inputs, filters, kernel_size=3, bias=bias)
        self.weight = nn.Parameter(self.weight.to(memory_format=torch.channels_last))
        self.upsampling = upsampling

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The filters' maps."""
        padded_NCYX = periodic_pad(maps_NCYX)
        if not self.upsampling:
            return super().forward(padded_NCYX)
        return functional.conv_transpose2d(padded_NCYX, self._scattered(), self.bias, stride=2, padding=3)

    def _scattered(self) -> Tensor:
        """What a site adds to the sites around, (inputs, filters, 4, 4): the sum over the four that it becomes."""
        # A convolution gathers, so what it scatters is the kernel point-reflected.
        reflected = self.weight.flip(2, 3).transpose(0, 1)
        moved = [functional.pad(reflected, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
        return torch.stack(moved).sum(0).contiguous(memory_format=torch.channels_last)


class PeriodicMaxPool(nn.Module):
    """Maximum over 3x3 windows centred on every second site: (N, C, Y, X) to (N, C, Y/2, X/2), both even."""

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The maxima; the windows of the first row and column reach around the edge."""
        return functional.max_pool2d(periodic_pad(maps_NCYX), kernel_size=3, stride=2)


def periodic_pad(maps_NCYX: Tensor) -> Tensor:
    """Maps with one row and column more at each edge, from the other side: (N, C, Y, X) to (N, C, Y+2, X+2)."""
    padded: Tensor = _PeriodicPad.apply(maps_NCYX)  # type: ignore[no-untyped-call]
    return padded


class _PeriodicPad(torch.autograd.Function):
    """`torch.nn.functional.pad(mode="circular")`, but four times as fast with its gradient, and memory order kept."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:  # noqa: ARG004
        *batch, rows, columns = maps.shape
        last = maps.is_contiguous(memory_format=torch.channels_last)
        padded = torch.empty(
            (*batch, rows + 2, columns + 2),
            dtype=maps.dtype,
            device=maps.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        padded[..., 1:-1, 1:-1] = maps
        padded[..., 0, 1:-1] = maps[..., -1, :]
        padded[..., -1, 1:-1] = maps[..., 0, :]
        # The columns come after the rows, so that they carry the corners along.
        padded[..., 0] = padded[..., -2]
        padded[..., -1] = padded[..., 1]
        return padded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        inner = gradient[..., 1:-1, 1:-1].clone()
        inner[..., 0, :] += gradient[..., -1, 1:-1]
        inner[..., -1, :] += gradient[..., 0, 1:-1]
        inner[..., 0] += gradient[..., 1:-1, -1]
        inner[..., -1] += gradient[..., 1:-1, 0]
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            inner[..., -1 - row, -1 - column] += gradient[..., row, column]
        return inner


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the global batch, however many ranks share it.

    With one process it is `torch.nn.BatchNorm2d`. With more, mean and variance are combined over all ranks,
    forward and backward, on any device (torch's own `SyncBatchNorm` wants CUDA), so that training doesn't
    depend on the number of ranks but for rounding. Every rank must hold the same number of samples.
    """

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """Normalized maps of the same shape."""
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if not self.training or ranks == 1:
            return super().forward(maps_NCYX)
        normalized: Tensor
        normalized, mean, variance = _GlobalNorm.apply(  # type: ignore[no-untyped-call]
            maps_NCYX, self.weight, self.bias, self.eps, ranks
        )
        self._track(mean, variance, ranks * maps_NCYX.numel() // self.num_features)
        return normalized

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        # The running variance is the unbiased one, as in torch.
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


class _GlobalNorm(torch.autograd.Function):
    """Maps normalized over all ranks, with the mean and variance that they were normalized by.

    It stands on torch's own kernels for one process, which take one pass over the maps each; written out in
    differentiable operations it doubles the time of a training step.
    """

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, epsilon: float, ranks: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = (own.double() for own in torch.batch_norm_update_stats(maps, None, None, 0.0))
        # In float64, where the difference of the moments loses nothing that matters.
        mean, square = _rank_mean(torch.stack([mean, variance + mean**2]), ranks)
        mean, variance = mean.to(weight.dtype), (square - mean**2).to(weight.dtype)
        ctx.save_for_backward(maps, weight, mean, variance)
        ctx.epsilon, ctx.ranks = epsilon, ranks
        ctx.mark_non_differentiable(mean, variance)
        normalized = functional.batch_norm(maps, mean, variance, weight, bias, training=False, eps=epsilon)
        return normalized, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        maps, weight, mean, variance = ctx.saved_tensors
        # The gradient's sums over this rank's samples, plain and against the normalized maps; what torch would make of
        # them is right for one process only.
        _, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, maps, weight, mean, variance, None, None, False, ctx.epsilon, [False, True, True]
        )
        # Each gradient less its mean and its slope against the normalized maps, over all ranks' samples, times the
        # scale that the layer has: two passes, as the second factor is an affine function of the maps by itself.
        scale = weight * torch.rsqrt(variance + ctx.epsilon)
        sums = torch.stack([for_bias, for_weight]) * (weight.numel() / maps.numel())
        offset, slope = -scale * _rank_mean(sums, ctx.ranks)
        for_maps = functional.batch_norm(maps, mean, variance, slope, offset, training=False, eps=ctx.epsilon)
        for_maps.addcmul_(gradient, scale[:, None, None].to(maps.dtype))
        return for_maps, for_weight, for_bias, None, None


def _rank_mean(tensor: Tensor, ranks: int) -> Tensor:
    # One round of messages, where gloo's sum over ranks takes two; few numbers, so that their copies don't matter.
    parts = [torch.empty_like(tensor) for _ in range(ranks)]
    gathering = dist.all_gather(parts, tensor.contiguous(), async_op=True)
    if tensor.device.type == "cpu":
        # The others are about to come here, too. A core that slept until then takes longer to wake than the message
        # takes, and a step has two of these for each layer; but who waits for long leaves the core to others.
        patient_until = time.perf_counter() + _PATIENCE_S
        while not gathering.is_completed() and time.perf_counter() < patient_until:
            os.sched_yield()
    gathering.wait()
    return torch.stack(parts).mean(0)
