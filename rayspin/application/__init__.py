"""Application of networks and methods of reconstruction to spins and images of users."""

from rayspin.application.apply import apply_to, to_sites
from rayspin.application.operations import Operation, operation
from rayspin.application.result import Application, draw, size_of

__all__ = ["Application", "Operation", "apply_to", "draw", "operation", "size_of", "to_sites"]
