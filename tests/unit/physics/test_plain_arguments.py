"""Functions accept the values of job files and their Python equivalents, and report others in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.physics import (
    DOMAIN,
    DOMAIN_SCHEDULE,
    LABYRINTH,
    LABYRINTH_SCHEDULE,
    AnnealSchedule,
    Degradation,
    Hamiltonian,
    Sampler,
    Trace,
    anneal,
    anneal_many,
    effective_field,
    energy,
    energy_terms,
    quench,
    torque,
    warm_up,
)
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only
from rayspin.rng import generator
from tests.support import reference

SHORT = AnnealSchedule(sweeps=2, quench_sweeps=2)
TABLE = {"sweeps": 2, "quench_sweeps": 2}
SPINS = reference.random_spins(np.random.default_rng(1), 4, 6).astype(np.float32)


def same(a, b):
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(
    ("name", "hamiltonian", "schedule"),
    [("labyrinth", LABYRINTH, LABYRINTH_SCHEDULE), ("domain", DOMAIN, DOMAIN_SCHEDULE)],
)
def test_preset_names_and_default_schedules(name, hamiltonian, schedule):
    expected = anneal(hamiltonian, 8, schedule, (1,))
    assert same(anneal(name, 8, seed=1), expected)
    assert same(anneal(name, 8, name, 1), expected)
    assert same(anneal(hamiltonian, 8, None, [1]), expected)
    assert same(anneal_many(name, 8, seeds=[1])[0], expected)
    assert same(anneal_many(name, 8, name, range(1, 2))[0], expected)


@pytest.mark.parametrize("hamiltonian", ["labyrinth", {"dmi": 0.3}, {"exchange": 1, "dmi": np.float64(0.3)}])
def test_functions_accept_hamiltonians_of_job_files(hamiltonian):
    assert same(anneal(hamiltonian, 8, TABLE, 1), anneal(LABYRINTH, 8, SHORT, (1,)))
    assert same(quench(hamiltonian, 8, 1, sweeps=3), quench(LABYRINTH, 8, (1,), sweeps=3))
    assert same(Sampler(hamiltonian, 8, 1).spins, Sampler(LABYRINTH, 8, (1,)).spins)
    assert same(effective_field(SPINS, hamiltonian), effective_field(SPINS, LABYRINTH))
    assert same(torque(SPINS, hamiltonian), torque(SPINS, LABYRINTH))
    assert same(energy(SPINS, hamiltonian), energy(SPINS, LABYRINTH))
    assert energy_terms(SPINS, hamiltonian) == energy_terms(SPINS, LABYRINTH)
    warm_up(hamiltonian)


@pytest.mark.parametrize("seed", [7, np.int64(7), np.array(7), [7], np.array([7]), (np.uint32(7),)])
def test_single_number_is_accepted_as_a_seed(seed):
    assert same(anneal(LABYRINTH, 4, SHORT, seed), anneal(LABYRINTH, 4, SHORT, (7,)))
    assert same(noisy(SPINS, 1.0, seed), noisy(SPINS, 1.0, (7,)))
    assert same(generator("any", seed).random(3), generator("any", (7,)).random(3))


@pytest.mark.parametrize("seeds", [[(3, 0), (3, 1)], np.array([[3, 0], [3, 1]]), ((3, n) for n in range(2))])
def test_seeds_accept_any_iterable_of_addresses(seeds):
    assert same(anneal_many(LABYRINTH, 4, SHORT, seeds), anneal_many(LABYRINTH, 4, SHORT, ((3, 0), (3, 1))))


def test_configs_accept_arrays_scalars_and_lists():
    expected = Hamiltonian(dmi=0.25, external_field=(0.0, 0.0, 0.5), anisotropy_axis=(1.0, 0.0, 0.0))
    converted = Hamiltonian(
        dmi=np.float32(0.25), external_field=np.array([0, 0, 0.5]), anisotropy_axis=torch.tensor([1.0, 0.0, 0.0])
    )
    assert converted == expected
    assert hash(converted) == hash(expected)
    assert LABYRINTH.with_updates(external_field=np.array([0, 0, 0.5])).external_field == (0.0, 0.0, 0.5)
    via = np.array([[0.5, 0.25]])
    assert AnnealSchedule(sweeps=np.int64(5), via=via) == AnnealSchedule(sweeps=5, via=((0.5, 0.25),))
    sampler = Sampler(LABYRINTH, 4, 1)
    sampler.set_external_field(np.array([0.0, 0.0, 0.1], np.float64))
    assert sampler.hamiltonian.external_field == (0.0, 0.0, 0.1)


@pytest.mark.parametrize("size", [np.array(8), np.array([8, 8]), [8, np.int16(8)]])
def test_size_accepts_arrays_and_lists(size):
    assert same(anneal(LABYRINTH, size, SHORT, 1), anneal(LABYRINTH, 8, SHORT, 1))


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(int),
        lambda a: a.astype(np.int8).tolist(),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(">f8"),
        torch.from_numpy,
    ],
    ids=["integers", "lists", "float16", "longdouble", "big-endian", "tensor"],
)
def test_spins_of_any_real_type_have_the_energy_of_float64(convert):
    """In a checkerboard of up and down spins no bond is satisfied, and the energy is 2 J per site."""
    neel = np.zeros((4, 4, 3))
    neel[..., 2] = (-1.0) ** np.indices((4, 4)).sum(axis=0)
    assert energy(convert(neel), LABYRINTH) == 2
    assert effective_field(convert(neel), LABYRINTH).dtype == np.float32
    assert same(effective_field(convert(neel), LABYRINTH), effective_field(neel, LABYRINTH))
    assert same(torque(convert(neel), LABYRINTH), torque(neel, LABYRINTH))
    assert same(anneal("labyrinth", 4, SHORT, 1, start=convert(neel)), anneal("labyrinth", 4, SHORT, 1, start=neel))


@pytest.mark.parametrize("at", [[10, 20], np.array([10, 20]), {10, 20}, range(10, 21, 10), iter([10, 20]), (20, 10)])
def test_trace_accepts_any_iterable_of_sweeps(at):
    trace = Trace(at=at)
    schedule = AnnealSchedule(sweeps=20, quench_sweeps=0)
    for _ in range(2):
        anneal(LABYRINTH, 4, schedule, 1, trace=trace)
    assert trace.sweeps == [10, 20, 10, 20]


def test_trace_accepts_a_single_sweep():
    trace = Trace(at=np.int64(3))
    anneal(LABYRINTH, 4, AnnealSchedule(sweeps=5, quench_sweeps=0), 1, trace=trace)
    assert trace.sweeps == [3]


def test_degradations_and_defects_accept_lists():
    fine = np.random.default_rng(2).normal(size=(8, 12, 3)).astype(np.float32)
    assert same(Degradation().apply(fine.tolist(), 4), Degradation().apply(fine.astype(np.float64), np.int64(4)))
    assert same(defect_rows(SPINS.tolist(), np.int64(2), 3), defect_rows(SPINS, 2, (3,)))
    assert same(defect_square(SPINS.tolist(), 2), defect_square(SPINS, 2))
    assert same(out_of_plane_only(SPINS.tolist()), out_of_plane_only(SPINS))


BAD = {
    "misspelt preset": (lambda: anneal("labyrint", 4), "hamiltonian: preset: unknown name 'labyrint'; did you mean"),
    "misspelt schedule": (lambda: anneal("domain", 4, "domian"), "schedule: preset: unknown name 'domian'; did you"),
    "swapped arguments": (lambda: anneal(SHORT, 4, LABYRINTH), "hamiltonian: AnnealSchedule.* is not a Hamiltonian"),
    "number as a Hamiltonian": (lambda: energy(SPINS, 0.3), "hamiltonian: 0.3 is not a Hamiltonian; give a Hamilton"),
    "array as a Hamiltonian": (lambda: energy(SPINS, np.eye(3)), "hamiltonian: array.* is not a Hamiltonian"),
    "no Hamiltonian": (lambda: Sampler(None, 4, 1), "hamiltonian: None is not a Hamiltonian"),
    "key of a table": (lambda: quench({"dmmi": 1.0}, 4), "hamiltonian: dmmi: unknown key; did you mean 'dmi'"),
    "value of a table": (lambda: torque(SPINS, {"dmi": "x"}), "hamiltonian: dmi: 'x' is invalid"),
    "two-component field": (lambda: Hamiltonian(external_field=np.zeros(2)), "external_field"),
    "array as a number": (lambda: Hamiltonian(dmi=np.zeros((9, 9))), "dmi: .* is invalid; write a number"),
    "seeds as a number": (lambda: anneal_many(LABYRINTH, 4, SHORT, 5), "seeds: are missing; give one per"),
    "seeds as an array without axes": (lambda: anneal_many(LABYRINTH, 4, SHORT, np.array(5)), "seeds: are missing"),
    "no seeds in a generator": (lambda: anneal_many(LABYRINTH, 4, SHORT, iter(())), "seeds: are missing"),
    "seed as an array of two axes": (lambda: anneal(LABYRINTH, 4, SHORT, np.ones((9, 9), int)), "seed: .* is not a"),
    "seed as a NumPy boolean": (lambda: anneal(LABYRINTH, 4, SHORT, np.True_), "seed: .* is not a valid address"),
    "seed of None": (lambda: anneal(LABYRINTH, 4, SHORT, None), "seed: None is not a valid address"),
    "size as an array of real numbers": (lambda: anneal(LABYRINTH, np.array([4.0, 4.0])), "size: .* is not a lattice"),
    "size of two axes": (lambda: anneal(LABYRINTH, np.full((9, 9), 4)), "size: .* is not a lattice size"),
    "boundary as an array": (lambda: Hamiltonian(boundary=np.zeros(3)), "boundary: .* is invalid"),
    "spins as booleans": (lambda: energy(SPINS > 0, LABYRINTH), "spins: have dtype bool; give real numbers"),
    "complex spins": (lambda: energy(SPINS + 0j, LABYRINTH), "spins: have dtype complex"),
    "tensor with a gradient": (
        lambda: energy(torch.zeros(4, 4, 3, requires_grad=True), LABYRINTH),
        "spins: are not an array",
    ),
    "path as spins": (lambda: torque(Path("spins.npy"), LABYRINTH), "spins: have shape"),
    "trace at a fractional sweep": (lambda: Trace(at=[0.5]), "at: 0.5 is invalid"),
    "trace at a real number": (lambda: Trace(at=2.5), "at: 2.5 is invalid"),
    "list without a lattice": (lambda: Degradation().apply([1.0, 2.0], 4), r"spins: have shape \(2,\)"),
    "scale of zero": (lambda: Degradation().apply(SPINS, 0), "scale: 0 is invalid; give a whole number from 1"),
    "real scale": (lambda: Degradation().matrix(8, 2.0), "scale: 2.0 is invalid"),
    "axis that the scale does not divide": (lambda: Degradation().matrix(9, 4), "degradation: .* blocks of 4"),
    "inverse of such an axis": (lambda: Degradation(mosaic=2).inverse(12, 4), "degradation: .* blocks of 8"),
    "infinite noise": (lambda: noisy(SPINS, np.inf, 1), "noise_amplitude: inf is invalid"),
    "noise as a string": (lambda: noisy(SPINS, "strong", 1), "noise_amplitude: 'strong' is invalid"),
    "noise on a vector": (lambda: noisy([0.0, 0.0, 1.0], 1.0, 1), r"spins: have shape \(3,\)"),
    "fractional rows": (lambda: defect_rows(SPINS, 1.5, 1), "defect_rows: 1.5 is invalid"),
    "more rows than there are": (lambda: defect_rows(SPINS, 5, 1), "defect_rows: 5 is invalid; .* from 0 to 4"),
    "square on a vector": (lambda: defect_square(np.zeros(3), 1), "spins: have shape"),
    "component of two": (lambda: out_of_plane_only(np.zeros((4, 4, 2))), "spins: have shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_argument_is_a_one_line_error(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=f"^{message}") as error:
        call()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
