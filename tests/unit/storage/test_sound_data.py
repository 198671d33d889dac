"""Generated datasets pass verification for any Hamiltonian and any scale of its couplings, also in ground states."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.tune.job import Tune
from rayspin.physics import AnnealSchedule, Hamiltonian, anneal, energy
from rayspin.physics.examination import energy_bounds
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, Verification, verify
from tests.support import datasets

NO_SPLIT = {"splits": {"test": 0}}


def generate_and_verify(folder: Path, hamiltonian: dict[str, Any], **more: Any) -> Verification:
    table = {"samples": 8, "size": 16, "seed": 5, "hamiltonian": hamiltonian, **NO_SPLIT} | more
    job = Generate.model_validate(table)
    datasets.make(job, folder)
    return verify(Catalog.entered(folder))


GROUND_STATES = [
    {"exchange": 1.0},
    {"exchange": -1.0},
    {"exchange": 0.0, "external_field": [0.3, 0.2, -0.4]},
    {"exchange": 0.0, "anisotropy": 1.0},
    {"exchange": 1e-3, "dmi": 1e-3, "external_field": [0.0, 0.0, 1e3]},
    {"exchange": 0.0},
]


@pytest.mark.parametrize("hamiltonian", GROUND_STATES, ids=str)
def test_ground_states_pass_verification(tmp_path: Path, hamiltonian: dict[str, Any]) -> None:
    assert generate_and_verify(tmp_path, hamiltonian).faults == []


@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3, 1e6])
def test_quench_converges_at_any_scale_of_the_couplings(tmp_path: Path, strength: float) -> None:
    schedule = {
        "start_temperature": max(strength, 1e-2),
        "end_temperature": max(0.01 * strength, 1e-6),
        "sweeps": 100,
    }
    terms = {"exchange": strength, "external_field": [0.0, 0.0, 0.1 * strength]}
    verification = generate_and_verify(tmp_path, terms, schedule=schedule, derived={"field": True})
    assert verification.faults == []
    assert verification.torques.max() <= 1.1e-4 * strength
    assert verification.relaxed == 8


def test_tolerance_below_float32_rounding_is_refused_before_the_run(tmp_path: Path) -> None:
    out_of_reach = {"torque_tolerance": 2e-6}
    message = (
        "torque_tolerance: 2e-06 can't be reached with spins in float32; give at least 1e-05, in units of the largest"
    )
    job = Generate.model_validate({"samples": 1, "size": 4, "hamiltonian": {}, "schedule": out_of_reach, **NO_SPLIT})
    with pytest.raises(InputError, match=message):
        job.check(RunDir.at(tmp_path / "run"), {})
    sweep = {"base": job.to_table() | {"schedule": {}}, "space": {"schedule.torque_tolerance": [1e-4, 2e-6]}}
    with pytest.raises(InputError, match=message):
        Tune.model_validate(sweep).check(RunDir.at(tmp_path / "run"), {})
    with pytest.raises(InputError, match=message):
        anneal(Hamiltonian(), 4, AnnealSchedule(**out_of_reach), (0, 0))
    assert AnnealSchedule(torque_tolerance=0.0, quench_sweeps=10).largest_torque(Hamiltonian()) == 0


@pytest.mark.parametrize(
    ("terms", "largest"),
    [
        ({"dmi": -0.3}, 1.0),
        ({"exchange": -0.5, "dmi": -2.0}, 2.0),
        ({"exchange": 0.0, "external_field": (0.0, 3.0, -4.0)}, 5.0),
        ({"anisotropy": -7.0, "dipole": 0.2}, 7.0),
    ],
)
def test_torque_tolerance_is_relative_to_the_largest_coupling(terms: dict[str, Any], largest: float) -> None:
    assert AnnealSchedule(torque_tolerance=1e-3).largest_torque(Hamiltonian(**terms)) == 1e-3 * largest


def test_energy_bounds_scale_with_the_length_of_the_spins() -> None:
    """Pair energies grow with the square of the length; the energy of aligned long spins equals the bound."""
    long_spins = np.zeros((8, 8, 3))
    long_spins[..., 2] = 1.001
    lowest, _ = energy_bounds(Hamiltonian(), 1.001)
    assert float(energy(long_spins, Hamiltonian())) == pytest.approx(lowest, rel=1e-12)


def strengths(least: float = -1e3) -> st.SearchStrategy[float]:
    """Zero or a coupling of any order of magnitude; positive only if `least` is 0."""
    sizes = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)
    signed = sizes if least == 0 else st.builds(float.__mul__, sizes, st.sampled_from([-1.0, 1.0]))
    return st.just(0.0) | signed


@st.composite
def hamiltonians(draw: st.DrawFn) -> dict[str, Any]:
    edges = draw(st.sampled_from(["periodic", "open"]))
    return {
        "exchange": draw(strengths()),
        "dmi": draw(strengths()),
        "dmi_kind": draw(st.sampled_from(["interfacial", "bulk"])),
        "dipole": draw(strengths(0)) if edges == "periodic" else 0.0,
        "anisotropy": draw(strengths()),
        "anisotropy_axis": draw(st.sampled_from([[0.0, 0.0, 1.0], [1.0, 2.0, -1.0]])),
        "external_field": [draw(strengths()) for _ in range(3)],
        "boundary": edges,
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hamiltonian=hamiltonians(),
    size=st.tuples(st.sampled_from([2, 4, 8]), st.sampled_from([2, 4, 6])),
    sweeps=st.integers(0, 20),
    quench_sweeps=st.integers(0, 100),
    field=st.booleans(),
)
def test_generated_dataset_passes_verification(
    hamiltonian: dict[str, Any], size: tuple[int, int], sweeps: int, quench_sweeps: int, field: bool
) -> None:
    schedule = {"sweeps": sweeps, "quench_sweeps": quench_sweeps}
    more = {"samples": 3, "size": list(size), "schedule": schedule, "derived": {"field": field}}
    with tempfile.TemporaryDirectory() as folder:
        assert generate_and_verify(Path(folder), hamiltonian, **more).faults == []
