"""rayspin: from a spin Hamiltonian to trained networks, on a laptop or a thousand nodes."""

__version__ = "0.1.0"
