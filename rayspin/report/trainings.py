"""The blocks of a training: loss curves, other metrics, and the best epoch."""

from __future__ import annotations

from rayspin.report import charts
from rayspin.report.blocks import Block, Facts
from rayspin.rundir import RunDir, Table
from rayspin.training import Line, best_epoch, read_metrics

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
    best = best_epoch(history)
    rows = {name.replace("_", " "): f"{value:.5g}" for name, value in best.items() if name not in {"epoch", "seconds"}}
    blocks: list[Block] = [
        Facts(f"Best epoch: {best['epoch']:.0f} of {len(history)}", rows),
        charts.curves(
            "Loss",
            "Loss of the training and of the validation samples after each epoch.",
            {name.replace("_", " "): _curve(history, name) for name in LOSSES},
            ("epoch", "loss"),
            log=(False, all(line[name] > 0 for line in history for name in LOSSES)),
        ),
    ]
    others = {name.replace("_", " "): _curve(history, name) for name in history[-1] if name not in _OTHERS}
    if others:
        positive = all(value > 0 for _, values in others.values() for value in values)
        description = "Metrics of the validation samples, which are not part of the loss."
        blocks.append(charts.curves("Validation", description, others, ("epoch", "value"), log=(False, positive)))
    rate = {"learning rate": _curve(history, "learning_rate")}
    blocks.append(charts.curves("Learning rate", "Learning rate at the end of each epoch.", rate, ("epoch", "learning rate")))
    return blocks


def _curve(history: list[Line], name: str) -> charts.Curve:
    known = [line for line in history if name in line]
    return [line["epoch"] for line in known], [line[name] for line in known]
