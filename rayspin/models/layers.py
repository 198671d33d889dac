"""The building blocks of both networks, for periodic lattices.

Tensors have shape NCYX. The `torch.channels_last` memory format is faster, by a factor of two on CPUs, and is the order
that spins are stored in. Every block preserves the memory format of its input.
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
from rayspin.physics.arguments import lattice

_PATIENCE_S = 0.01
"""How long a rank on a CPU polls for the others before it sleeps, seconds."""

_SHORTEST = 1e-12
"""Length below which a vector has no direction."""


def check_spins(spins_NCYX: object, like: Tensor) -> None:
    """Check that spins are a batch (N, 3, Y, X) with a network's data type, on its device.

    Args:
        spins_NCYX: the input of the network.
        like: a parameter of the network.

    Raises:
        InputError: the spins have another type, shape, data type or device.
    """
    if not isinstance(spins_NCYX, Tensor):
        problem = f"are of type {type(spins_NCYX).__name__}, not a tensor"
        raise InputError("spins", problem, "use rayspin.models.apply for arrays")
    if spins_NCYX.ndim != 4 or spins_NCYX.shape[1] != 3:
        raise InputError("spins", f"have shape {tuple(spins_NCYX.shape)}", "give (N, 3, Y, X), components first")
    if spins_NCYX.dtype != like.dtype or spins_NCYX.device != like.device:
        problem = f"are {spins_NCYX.dtype} on {spins_NCYX.device}, but the network is {like.dtype} on {like.device}"
        raise InputError("spins", problem, "call spins.to(parameter) with a parameter of the network")


def check_stride(shape: int | tuple[int, int], stride: int) -> None:
    """Check that a stride divides a lattice.

    Args:
        shape: rows and columns, or one number for both.
        stride: total stride of a network, sites.

    Raises:
        InputError: it doesn't divide a side.
    """
    rows, columns = lattice(shape, "open")
    if rows % stride or columns % stride:
        raise InputError(
            "size",
            f"the network's stride of {stride} doesn't divide {rows} x {columns} sites",
            f"use sides that are multiples of {stride}",
        )


def convolution_block(inputs: int, filters: int, activation: nn.Module, *, upsampling: bool = False) -> nn.Sequential:
    """Build a block of periodic padding, 3x3 convolution, batch norm and activation.

    Args:
        inputs: number of input channels.
        filters: number of output channels.
        activation: the activation.
        upsampling: up-sample the input x2 (nearest) first.

    Returns:
        a module that maps (N, inputs, Y, X) to (N, filters, Y, X) or, with `upsampling`, to (N, filters, 2 Y, 2 X).
    """
    # Batch norm subtracts the mean, so a bias before it would have no effect.
    convolution = PeriodicConv(inputs, filters, bias=False, upsampling=upsampling)
    return nn.Sequential(convolution, BatchNorm(filters), activation)


class PeriodicConv(nn.Conv2d):
    """A 3x3 convolution on the periodic lattice, (N, inputs, Y, X) to (N, filters, Y, X).

    With `upsampling`, the input is up-sampled x2 (nearest) first and the output is (N, filters, 2 Y, 2 X). Both
    operations are combined into one transposed convolution, which takes 16 products instead of 36 and doesn't store the
    up-sampled maps; with its gradient it is 1.5 to 3 times as fast on a CPU.

    Args:
        inputs: number of input channels.
        filters: number of output channels.
        bias: add a bias to the output.
        upsampling: up-sample the input x2 (nearest) first.
    """

    def __init__(self, inputs: int, filters: int, *, bias: bool, upsampling: bool = False) -> None:
        super().__init__(inputs, filters, kernel_size=3, bias=bias)
        self.weight = nn.Parameter(self.weight.to(memory_format=torch.channels_last))
        self.upsampling = upsampling

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """Apply the convolution, and the up-sampling if there is one."""
        padded_NCYX = periodic_pad(maps_NCYX)
        if not self.upsampling:
            return super().forward(padded_NCYX)
        return functional.conv_transpose2d(padded_NCYX, self._scattered(), self.bias, stride=2, padding=3)

    def _scattered(self) -> Tensor:
        """The kernel of the transposed convolution, (inputs, filters, 4, 4): a sum over the 2x2 copies of a site."""
        # A convolution gathers and a transposed one scatters, so the kernel is point-reflected.
        reflected = self.weight.flip(2, 3).transpose(0, 1)
        moved = [functional.pad(reflected, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
        return torch.stack(moved).sum(0).contiguous(memory_format=torch.channels_last)


class PeriodicMaxPool(nn.Module):
    """Periodic maximum over 3x3 windows around every second site: (N, C, Y, X) to (N, C, Y/2, X/2), for even Y, X."""

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The maxima; the windows of the first row and column wrap around the edges."""
        return functional.max_pool2d(periodic_pad(maps_NCYX), kernel_size=3, stride=2)


def periodic_pad(maps_NCYX: Tensor) -> Tensor:
    """Pad maps periodically with one row or column at each edge, (N, C, Y, X) to (N, C, Y+2, X+2)."""
    padded: Tensor = _PeriodicPad.apply(maps_NCYX)  # type: ignore[no-untyped-call]
    return padded


def unit(maps_NCYX: Tensor) -> Tensor:
    """Normalize the vectors of maps (N, 3, Y, X) to length 1; vectors of length zero stay zero.

    `torch.nn.functional.normalize` over this axis takes 50 times as long on a CPU.
    """
    return maps_NCYX * maps_NCYX.square().sum(dim=1, keepdim=True).clamp_min(_SHORTEST**2).rsqrt()


class _PeriodicPad(torch.autograd.Function):
    """`torch.nn.functional.pad(mode="circular")`, but four times as fast with its gradient; keeps the memory format."""

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
        # Columns are copied after rows, so that they include the corners.
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
    """Batch norm over the global batch of all ranks.

    With one process it is `torch.nn.BatchNorm2d`. With more, mean and variance are combined over all ranks, forward and
    backward, on any device (torch's own `SyncBatchNorm` requires a GPU), so that training depends on the number of
    ranks only by rounding. Every rank must hold the same number of samples.
    """

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The normalized maps, of the same shape."""
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
        # The running variance is unbiased, as in torch.
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


class _GlobalNorm(torch.autograd.Function):
    """Normalization of maps over all ranks; it also returns the mean and the variance.

    It uses torch's kernels for a single process, each of which takes one pass over the maps. The same in differentiable
    operations would double the time of a training step.
    """

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, epsilon: float, ranks: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = (own.double() for own in torch.batch_norm_update_stats(maps, None, None, 0.0))
        # In float64 the cancellation in the difference of the moments is negligible.
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
        # Sums over this rank's samples of the gradient and of its product with the normalized maps. The gradient of
        # the maps is computed below, because torch's would be correct for one process only.
        _, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, maps, weight, mean, variance, None, None, False, ctx.epsilon, [False, True, True]
        )
        # The gradient minus its mean and its regression on the normalized maps, over all ranks' samples, times the
        # layer's scale. Both subtracted terms together are an affine function of the maps, so two passes suffice.
        scale = weight * torch.rsqrt(variance + ctx.epsilon)
        sums = torch.stack([for_bias, for_weight]) * (weight.numel() / maps.numel())
        offset, slope = -scale * _rank_mean(sums, ctx.ranks)
        for_maps = functional.batch_norm(maps, mean, variance, slope, offset, training=False, eps=ctx.epsilon)
        for_maps.addcmul_(gradient, scale[:, None, None].to(maps.dtype))
        return for_maps, for_weight, for_bias, None, None


def _rank_mean(tensor: Tensor, ranks: int) -> Tensor:
    # A gather takes one round of messages, and gloo's all-reduce takes two; the tensors are small, so the copies are
    # cheap.
    parts = [torch.empty_like(tensor) for _ in range(ranks)]
    gathering = dist.all_gather(parts, tensor.contiguous(), async_op=True)
    if tensor.device.type == "cpu":
        # The other ranks usually arrive soon, and waking a sleeping core takes longer than the message, twice per layer
        # and step. Polling therefore saves time, but its duration is limited to leave the core to other processes.
        patient_until = time.perf_counter() + _PATIENCE_S
        while not gathering.is_completed() and time.perf_counter() < patient_until:
            os.sched_yield()
    gathering.wait()
    return torch.stack(parts).mean(0)
