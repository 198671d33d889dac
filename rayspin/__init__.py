"""Simulated annealing of spin textures and training of networks on them, on a laptop or on a cluster of many nodes."""

__version__ = "0.1.0"
