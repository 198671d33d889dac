"""Altered samples: exact shapes, shares and distributions, whatever the company of a sample."""

import math

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.training import Damage, FieldObjective
from rayspin.training.damage import altered
from rayspin.training.data import Batch
from tests.support.training import smooth_spins


def _batch(samples, size=32, seed=0):
    spins = np.moveaxis(smooth_spins(8, seed=1, size=size), -1, 1)[np.arange(samples) % 8]
    return Batch(torch.from_numpy(spins.copy()), tuple((seed, 1, sample) for sample in range(samples)))


def _changed(batch, given):
    """(N, Y, X), where the input differs from the spins."""
    return (given != batch.spins_NCYX).any(dim=1).numpy()


def _altered(batch, **shares):
    return altered(batch, FieldObjective(**shares).shares)


def test_nothing_is_altered_by_default():
    batch = _batch(4)
    clean, given = _altered(batch)
    assert clean is batch.spins_NCYX
    assert given is batch.spins_NCYX


def test_each_kind_takes_its_share():
    batch = _batch(2000, size=8)
    shares = {"noise": 0.1, "rows": 0.2, "square": 0.05, "one_component": 0.15}
    clean, given = _altered(batch, uniform_states=0.3, damage=shares)
    changed = _changed(batch, given)
    uniform = (clean != batch.spins_NCYX).flatten(1).any(dim=1).numpy()
    component = ~uniform & (given[:, :2] == 0).flatten(1).all(dim=1).numpy()
    noise = ~uniform & ~component & changed.all(axis=(1, 2))
    whole_line = changed.any(axis=1).all(axis=1) | changed.any(axis=2).all(axis=1)
    rows = whole_line & ~noise & ~uniform & ~component
    square = changed.any(axis=(1, 2)) & ~(noise | uniform | component | rows)
    found = {"noise": noise, "rows": rows, "square": square, "one_component": component, "uniform": uniform}
    for name, share in (shares | {"uniform": 0.3}).items():
        assert found[name].mean() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 2000)), name
    assert (~changed.any(axis=(1, 2))).mean() == pytest.approx(0.2, abs=5 * math.sqrt(0.16 / 2000))


def test_a_uniform_state_is_one_unit_vector_and_its_own_target():
    clean, given = _altered(_batch(1500, size=4), uniform_states=1.0)
    assert torch.equal(clean, given)
    direction = clean[:, :, 0, 0]
    assert torch.equal(clean, direction[:, :, None, None].expand_as(clean))
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(1500))
    # Uniform on the sphere: mean 0 and variance 1/3 (five standard errors).
    assert direction.mean(dim=0).abs().max() < 5 * (1 / 3 / 1500) ** 0.5
    assert (direction.square().mean(dim=0) - 1 / 3).abs().max() < 5 * (4 / 45 / 1500) ** 0.5


def test_noise_makes_unit_vectors_with_amplitudes_from_0_to_3():
    batch = _batch(600, size=8)
    clean, given = _altered(batch, damage={"noise": 1.0})
    assert torch.equal(clean, batch.spins_NCYX)
    torch.testing.assert_close(given.norm(dim=1), torch.ones(600, 8, 8))
    # For random R the mean of S . S' is 1 - alpha^2 / 3 below alpha = 1 and 2 / (3 alpha) above; over alpha in [0, 3]:
    expected = (1 - 1 / 9 + 2 / 3 * math.log(3)) / 3
    overlaps = (given * clean).sum(dim=1).mean(dim=(1, 2)).double().numpy()
    assert overlaps.mean() == pytest.approx(expected, abs=5 * overlaps.std() / 600**0.5)
    # 64 sites of variance below 1/3 about the mean of the strongest noise, 2/9.
    assert overlaps.min() > 2 / 9 - 5 * (1 / 3 / 64) ** 0.5
    assert overlaps.max() > 0.99


@pytest.mark.parametrize(("size", "narrowest", "widest"), [(128, 4, 63), (32, 4, 16), (4, 2, 2)])
def test_rows_or_columns_are_replaced_from_edge_to_edge(size, narrowest, widest):
    batch = _batch(120, size=size)
    clean, given = _altered(batch, damage={"rows": 1.0})
    assert torch.equal(clean, batch.spins_NCYX)
    widths, rows = [], 0
    for changed, spins in zip(_changed(batch, given), given):
        lines, columns = changed.all(axis=1), changed.all(axis=0)
        assert lines.any() != columns.any()
        rows += lines.any()
        band = lines if lines.any() else columns
        assert changed.sum() == band.sum() * size
        # One band on the periodic lattice.
        assert (band != np.roll(band, 1)).sum() == 2
        widths.append(band.sum())
        torch.testing.assert_close(spins.norm(dim=0), torch.ones(size, size))
    assert narrowest <= min(widths) <= max(widths) <= widest
    assert max(widths) - min(widths) >= 0.8 * (widest - narrowest)
    assert abs(rows - 60) < 5 * (120 / 4) ** 0.5


@pytest.mark.parametrize(("size", "widest"), [(128, 64), (32, 16)])
def test_a_box_is_replaced_by_random_spins(size, widest):
    batch = _batch(80, size=size)
    _, given = _altered(batch, damage={"square": 1.0})
    sides = []
    for changed in _changed(batch, given):
        rows, columns = changed.any(axis=1), changed.any(axis=0)
        assert np.array_equal(changed, rows[:, None] & columns)
        sides.append((rows.sum(), columns.sum()))
    assert 4 <= np.min(sides) < np.max(sides) <= widest
    assert any(rows != columns for rows, columns in sides)


def test_one_component_is_s_z():
    batch = _batch(3)
    clean, given = _altered(batch, damage={"one_component": 1.0})
    assert torch.equal(given[:, 2], batch.spins_NCYX[:, 2])
    assert not given[:, :2].any()
    assert torch.equal(clean, batch.spins_NCYX)


def test_a_sample_is_altered_alike_in_any_company_and_otherwise_in_another_epoch():
    shares = FieldObjective(uniform_states=0.3, damage={"noise": 0.3, "rows": 0.2, "square": 0.2}).shares
    batch = _batch(12)
    whole = altered(batch, shares)
    for part in (slice(0, 5), slice(5, 12)):
        alone = altered(Batch(batch.spins_NCYX[part], batch.addresses[part]), shares)
        assert all(torch.equal(one, both[part]) for one, both in zip(alone, whole))
    later = altered(Batch(batch.spins_NCYX, tuple((0, 2, s) for _, _, s in batch.addresses)), shares)
    assert not torch.equal(later[1], whole[1])


def test_the_batch_is_not_changed():
    batch = _batch(8)
    before = batch.spins_NCYX.clone()
    _altered(batch, uniform_states=0.5, damage={"noise": 0.5})
    assert torch.equal(batch.spins_NCYX, before)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"uniform_states": 0.6, "damage": {"noise": 0.3, "rows": 0.2}}, "damage: the shares .* sum to 1.1; reduce"),
        ({"damage": {"noise": 1.2}}, "damage.noise: 1.2 is invalid"),
        ({"uniform_states": -0.1}, "uniform_states: -0.1 is invalid"),
        ({"damage": {"column": 0.1}}, "damage.column: unknown key"),
    ],
)
def test_shares_that_are_none_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        FieldObjective(**table)


def test_shares_of_exactly_one_are_taken_despite_rounding():
    assert FieldObjective(uniform_states=0.1, damage=Damage(noise=0.2, rows=0.7)).damage.rows == 0.7
