"""Training in plain PyTorch, independent of Ray: objectives, configuration, and a resumable training loop."""

from rayspin.training.checkpoint import BEST, MAY_CHANGE, WEIGHTS, branch
from rayspin.training.config import TrainingConfig
from rayspin.training.curve import METRICS, Line, best_epoch, read_metrics
from rayspin.training.damage import Damage
from rayspin.training.field_objective import FieldObjective
from rayspin.training.loop import FitResult, fit
from rayspin.training.objectives import Objective
from rayspin.training.sources import SampleSource
from rayspin.training.super_resolution_objective import SuperResolutionObjective
from rayspin.training.tiles import Tiles, TilesConfig

__all__ = [
    "BEST",
    "MAY_CHANGE",
    "METRICS",
    "WEIGHTS",
    "Damage",
    "FieldObjective",
    "FitResult",
    "Line",
    "Objective",
    "SampleSource",
    "SuperResolutionObjective",
    "Tiles",
    "TilesConfig",
    "TrainingConfig",
    "best_epoch",
    "branch",
    "fit",
    "read_metrics",
]
