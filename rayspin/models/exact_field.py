"""The exact effective field of a batch, computed on the training device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from rayspin.arrays import channel_first
from rayspin.errors import InputError
from rayspin.models.layers import periodic_pad
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.arguments import lattice
from rayspin.physics.hamiltonian import HamiltonianLike


class ExactField(nn.Module):
    """The effective field F = -dH/dS of spins, in units of J.

    Apart from the uniform external field, the map from S to F is linear and commutes with translations, so the fields
    of three single spins determine it. They come from `rayspin.physics.effective_field`, so that the conventions of the
    Hamiltonian are implemented only once. Without the dipole term the map is a 3x3 convolution; with it, the map is a
    product in Fourier space.

    Args:
        hamiltonian: the Hamiltonian, with periodic boundaries.
        shape: rows and columns of the lattice, or one number for both.

    Attributes:
        local: whether the map is a convolution.
        response: the kernel of the convolution, or the Fourier transform of the single spins' fields.
        uniform_CYX: the external field, J, (3, 1, 1).

    Raises:
        InputError: the lattice has open boundaries.
    """

    response: Tensor
    uniform_CYX: Tensor

    def __init__(self, hamiltonian: HamiltonianLike, shape: int | tuple[int, int]) -> None:
        super().__init__()
        hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
        if hamiltonian.boundary != "periodic":
            raise InputError(
                "boundary",
                "the networks need a periodic lattice, and this one has open boundaries",
                'use a dataset with boundary = "periodic"',
            )
        self.local = hamiltonian.dipole == 0
        # Without the dipole term a single spin affects its neighbors only, so a 3x3 lattice is enough.
        single_NYXC = np.zeros((3, *((3, 3) if self.local else lattice(shape, "open")), 3), np.float32)
        single_NYXC[[0, 1, 2], 0, 0, [0, 1, 2]] = 1
        uniform_YXC = effective_field(np.zeros_like(single_NYXC[0]), hamiltonian)
        fields_CDYX = channel_first(torch.from_numpy(effective_field(single_NYXC, hamiltonian) - uniform_YXC))
        if self.local:
            # A convolution gathers what a single spin scatters, so the kernel is the point-reflected field.
            reflected = fields_CDYX.roll((1, 1), dims=(2, 3)).flip(2, 3).transpose(0, 1)
            response = reflected.contiguous(memory_format=torch.channels_last)
        else:
            response = torch.fft.rfft2(fields_CDYX.double()).to(torch.complex64)
        self.register_buffer("response", response)
        self.register_buffer("uniform_CYX", channel_first(torch.from_numpy(uniform_YXC))[:, :1, :1].clone())

    def forward(self, spins_NCYX: Tensor) -> Tensor:
        """The effective field of spins (N, 3, Y, X), J, of the same shape."""
        if self.local:
            field_NCYX = conv2d(periodic_pad(spins_NCYX), self.response)
        else:
            spectrum = (self.response * torch.fft.rfft2(spins_NCYX)[:, :, None]).sum(dim=1)
            field_NCYX = torch.fft.irfft2(spectrum, s=spins_NCYX.shape[-2:])
        return field_NCYX + self.uniform_CYX

    def energy(self, spins_NCYX: Tensor, field_NCYX: Tensor) -> Tensor:
        """Energy per site of spins in an exact or estimated field, J, (N,).

        It is the mean of -S . (F + H) / 2: two spins share the energy of each pair, and the energy of the external
        field H belongs to a single spin.

        Args:
            spins_NCYX: (N, 3, Y, X) spins.
            field_NCYX: (N, 3, Y, X) effective field, J.
        """
        products = (spins_NCYX * (field_NCYX + self.uniform_CYX)).sum(dim=1)
        return -products.mean(dim=(-2, -1)) / 2
