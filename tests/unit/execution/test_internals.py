"""Private names of Ray and submitit that rayspin uses exist in the installed versions, which have upper bounds."""

from __future__ import annotations

import inspect
import os
import tomllib
from importlib import import_module
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from rayspin.execution.ray_internals import authenticated, loopback_addresses
from tests.support.repository import REPOSITORY


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER"),
        ("ray._private.worker", "print_to_stdstream"),
        ("ray.tune.registry", "_unregister_all"),
        ("ray._raylet", "Config"),
        ("ray._raylet", "AuthenticationTokenLoader"),
        ("submitit.core._submit", "submitit_main"),
        ("submitit.core.core", "PicklingExecutor"),
        ("submitit.core.utils", "FailedJobError"),
        ("submitit.slurm.slurm", "_make_sbatch_string"),
    ],
)
def test_private_name_exists(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


def test_sbatch_script_function_accepts_the_arguments_in_use() -> None:
    parameters = inspect.signature(import_module("submitit.slurm.slurm")._make_sbatch_string).parameters
    used = {"command", "folder", "map_count", "job_name", "nodes", "ntasks_per_node", "time", "cpus_per_task", "mem"}
    used |= {"setup", "signal_delay_s", "stderr_to_stdout", "wckey", "additional_parameters", "srun_args"}
    assert used <= set(parameters)


@pytest.mark.parametrize("package", ["ray", "submitit"])
def test_installed_version_is_within_the_upper_bound(package: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    bounds = [
        requirement for requirement in map(Requirement, project["dependencies"] + extras) if requirement.name == package
    ]
    assert bounds
    for requirement in bounds:
        assert any(bound.operator == "<" for bound in requirement.specifier)
        assert version(package) in requirement.specifier


def test_context_managers_restore_variables_and_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the user")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    constants = import_module("ray._private.ray_constants")
    before = constants.ENABLE_RAY_CLUSTER
    with authenticated({"RAY_AUTH_MODE": "disabled"}), loopback_addresses():
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
        assert "RAY_AUTH_TOKEN" not in os.environ
        assert constants.ENABLE_RAY_CLUSTER is False
    assert (os.environ["RAY_AUTH_TOKEN"], os.environ.get("RAY_AUTH_MODE")) == ("of the user", None)
    assert before == constants.ENABLE_RAY_CLUSTER
