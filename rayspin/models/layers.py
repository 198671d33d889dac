"""The building blocks both networks are made of; all of them know that the lattice is periodic.

Tensors are NCYX in shape; in memory, components last (`torch.channels_last`) is the order that is fast, on CPUs by a
factor of two, and it is the one that spins are stored in. Every block keeps the order it is given.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional


def convolution_block(inputs: int, filters: int, activation: nn.Module) -> nn.Sequential:
    """Periodic padding, 3x3 convolution, batch norm, activation: (N, inputs, Y, X) to (N, filters, Y, X)."""
    # Batch norm subtracts the mean, so a bias in front of it would have no effect.
    return nn.Sequential(PeriodicConv(inputs, filters, bias=False), BatchNorm(filters), activation)


class PeriodicConv(nn.Conv2d):
    """A 3x3 convolution on the periodic lattice: (N, inputs, Y, X) to (N, filters, Y, X)."""

    def __init__(self, inputs: int, filters: int, *, bias: bool) -> None:
        super().__init__(inputs, filters, kernel_size=3, bias=bias)
        self.weight = nn.Parameter(self.weight.to(memory_format=torch.channels_last))

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The filters' maps."""
        return super().forward(periodic_pad(maps_NCYX))


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
        variance, mean = torch.var_mean(maps_NCYX.float(), dim=(0, 2, 3), correction=0)
        # In float64, where the difference of the moments loses nothing that matters.
        moments = torch.stack([mean.double(), variance.double() + mean.double() ** 2])
        mean, square = _RankSum.apply(moments) / ranks  # type: ignore[no-untyped-call]
        variance = square - mean**2
        self._track(mean, variance, ranks * maps_NCYX.numel() // self.num_features)
        gain = (self.weight.double() * torch.rsqrt(variance + self.eps)).to(maps_NCYX.dtype)
        offset = self.bias.to(maps_NCYX.dtype) - mean.to(maps_NCYX.dtype) * gain
        normalized: Tensor = maps_NCYX * gain[:, None, None] + offset[:, None, None]
        return normalized

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        # The running variance is the unbiased one, as in torch.
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)


class _RankSum(torch.autograd.Function):
    """The sum of a tensor over all ranks, and of its gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        dist.all_reduce(total)
        return total
