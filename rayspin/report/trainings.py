"""The blocks of a training: curves of the losses, of other metrics and of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from rayspin.report import charts
from rayspin.report.blocks import Block, Chart
from rayspin.rundir import RunDir, Table
from rayspin.training import Line, read_metrics

LOSSES = ("training_loss", "validation_loss")
_OTHERS = ("epoch", "seconds", "samples_per_second", "learning_rate", *LOSSES)


def training_blocks(run: RunDir, job: Table) -> list[Block]:  # noqa: ARG001
    """Return the blocks of a training; none before its first epoch.

    Args:
        run: folder of the training.
        job: its job.

    Raises:
        InputError: the file of the metrics is damaged.
    """
    history = read_metrics(run.path)
    if not history:
        return []
    blocks: list[Block] = [
        _chart("Loss", "Loss of the training and of the validation samples.", history, LOSSES, "loss")
    ]
    others = [name for name in history[-1] if name not in _OTHERS]
    families = {
        "Validation errors": [name for name in others if "mse" in name],
        "Validation metrics": [name for name in others if "mse" not in name],
    }
    for title, names in families.items():
        if names:
            text = "Metrics of the validation samples, which are not part of the loss."
            blocks.append(_chart(title, text, history, names, "value"))
    text = "Learning rate at the end of each epoch."
    return [*blocks, _chart("Learning rate", text, history, ["learning_rate"], "learning rate")]


def _chart(title: str, text: str, history: list[Line], names: Sequence[str], label: str) -> Chart:
    """Return a chart of metrics against the epoch, with a logarithmic axis if all values are positive."""
    curves = {name.replace("_", " "): _curve(history, name) for name in names}
    positive = all(value > 0 for _, values in curves.values() for value in values)
    return charts.curves(title, text, curves, ("epoch", label), log=(False, positive))


def _curve(history: list[Line], name: str) -> charts.Curve:
    return [line["epoch"] for line in history], [line[name] for line in history]
