"""The building blocks both networks are made of; all of them know that the lattice is periodic."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional


def convolution(inputs: int, filters: int, *, bias: bool) -> nn.Conv2d:
    """A 3x3 convolution with periodic padding: (N, inputs, Y, X) to (N, filters, Y, X)."""
    return nn.Conv2d(inputs, filters, kernel_size=3, padding=1, padding_mode="circular", bias=bias)


def convolution_block(inputs: int, filters: int, activation: nn.Module) -> nn.Sequential:
    """Periodic padding, 3x3 convolution, batch norm, activation: (N, inputs, Y, X) to (N, filters, Y, X)."""
    # Batch norm subtracts the mean, so a bias in front of it would have no effect.
    return nn.Sequential(convolution(inputs, filters, bias=False), BatchNorm(filters), activation)


class PeriodicMaxPool(nn.Module):
    """Maximum over 3x3 windows centred on every second site: (N, C, Y, X) to (N, C, Y/2, X/2), both even."""

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The maxima; the window of the first site reaches over the edge."""
        # An even side with stride 2 never reaches over the far edge.
        padded = functional.pad(maps_NCYX, (1, 0, 1, 0), mode="circular")
        return functional.max_pool2d(padded, kernel_size=3, stride=2)


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
    def forward(ctx: object, tensor: Tensor) -> Tensor:  # noqa: ARG004
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        dist.all_reduce(total)
        return total
