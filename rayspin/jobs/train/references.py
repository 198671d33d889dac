"""Weights that a job file names: a file, a training, a stage of the same pipeline, or a network of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.jobs.stage import Stage
from rayspin.jobs.train.job import Training, TrainSr
from rayspin.models import NetworkConfig, load_weights, pretrained_file, weights_info
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir, differing
from rayspin.training import BEST

_PRETRAINED = "pretrained:"


def weights_file(reference: str, run: RunDir) -> Path:
    """Return the weights file of a reference.

    Args:
        reference: path of a file, or of a folder of a training, of which the best epoch is used; `@name` for a stage;
            or `pretrained:NAME`.
        run: folder of the job, from which `@name` is resolved.

    Raises:
        InputError: the path is not valid, or no network of the package has this name.
    """
    if reference.startswith(_PRETRAINED):
        return pretrained_file(reference.removeprefix(_PRETRAINED))
    path = run.locate(reference)
    return path / BEST if path.is_dir() else path


@dataclass(frozen=True)
class Trained:
    """The description of a network before it is loaded, or before it is trained.

    Attributes:
        network: config of the network.
        objective: table of the objective that the network is trained with; empty if the weights file has none.
        hamiltonian: Hamiltonian of the training data; None if the weights file does not say.
        one_component: whether the network is trained on tiles of pictures of S_z alone.
    """

    network: NetworkConfig
    objective: Mapping[str, Any]
    hamiltonian: Hamiltonian | None
    one_component: bool = False

    @classmethod
    def of(cls, reference: str, where: str, run: RunDir, earlier: Mapping[str, Stage]) -> Trained:
        """Return the description of the network that a job refers to.

        Args:
            reference: weights file, folder of a training, `@name` or `pretrained:NAME`.
            where: key of the reference, for error messages.
            run: folder of the job.
            earlier: stages before it in its pipeline by name.

        Raises:
            InputError: the reference is not to a network.
        """
        if reference.startswith("@"):
            stage = earlier.get(reference[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"no earlier stage {reference!r} trains a network"
                raise InputError(where, problem, suggestion(reference, makers))
            # Tiles of pictures have no Hamiltonian.
            hamiltonian = next(iter(stage.facts(run, earlier).hamiltonians), None)
            one_component = isinstance(stage, TrainSr) and stage.one_component(run, earlier)
            return cls(stage.network, stage.objective.to_table(), hamiltonian, one_component)
        file = weights_file(reference, run)
        provenance = weights_info(file)["provenance"]
        data = provenance.get("data", {})
        table = data.get("hamiltonian")
        on = None if table is None else build(Hamiltonian, table, f"{file}: hamiltonian")
        return cls(load_weights(file).config, provenance.get("objective", {}), on, data.get("components") == "z")

    def check(self, expected: type, hamiltonian: Hamiltonian | None, reference: str, where: str, kind: str) -> None:
        """Check that a network is of the kind that a job evaluates, and was trained for the data.

        Args:
            expected: config class of the networks.
            hamiltonian: Hamiltonian of the data; None accepts any network.
            reference: reference to the network.
            where: key of the reference.
            kind: kind of the job.

        Raises:
            InputError: the network is of another kind, or was trained for another Hamiltonian.
        """
        if hamiltonian is not None and self.hamiltonian not in (None, hamiltonian):
            there, here = self.hamiltonian.to_table(), hamiltonian.to_table()
            differences = ", ".join(f"{key} {new}, not {old}" for key, old, new in differing(there, here))
            problem = f"its Hamiltonian is not that of the network's training ({differences})"
            raise InputError("dataset", problem, "use a dataset of that one, or write other_hamiltonian = true")
        if not isinstance(self.network, expected):
            problem = f"the network of {reference!r} is of the wrong kind for a job of kind {kind!r}"
            raise InputError(where, problem, "give weights of the other kind of network")
