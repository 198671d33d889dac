"""Tiles of pictures: where they are, what they hold, and the loss of networks that are trained on them."""

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import SuperResolutionNetConfig
from rayspin.models.degradation import Restore
from rayspin.physics import Degradation
from rayspin.training import SuperResolutionObjective, TilesConfig, TrainingConfig, fit
from rayspin.training.data import Batch

SIDE = 24
CONFIG = TilesConfig(size=6, count=60, validation=5, edge=1)
PLAIN = SuperResolutionNetConfig(scale=4)


def _cut(config=CONFIG, components=1, hidden=None):
    """Tiles of two pictures whose values are numbers of pixels, so that each pixel is recognized."""
    numbers = np.arange(2 * SIDE * SIDE * components, dtype=np.float32)
    usable = np.ones((2, SIDE, SIDE), bool)
    if hidden is not None:
        usable[:, hidden, hidden] = False
    return config.cut(numbers.reshape(2, SIDE, SIDE, components), usable, 4, 3, "pictures")


def _batch(tiles):
    spins = torch.from_numpy(np.moveaxis(tiles.read(np.arange(len(tiles))), -1, 1).copy())
    return Batch(spins, tuple((0, 1, int(sample)) for sample in tiles.samples))


def _pixels(tiles):
    """The number of each pixel of all tiles."""
    return {int(value) for value in tiles.read(np.arange(len(tiles)))[..., 2].ravel()}


def test_tiles_are_squares_of_the_pictures():
    train, validation = _cut()
    assert len(train) == 60
    assert len(validation) == 5
    tile = train.read(np.array([7]))[0]
    assert tile.shape == (6, 6, 3)
    assert not tile[..., :2].any()
    rows, columns = np.mgrid[:6, :6]
    np.testing.assert_array_equal(tile[..., 2], tile[0, 0, 2] + SIDE * rows + columns)
    assert train.shape == (24, 24)


def test_no_tile_is_drawn_twice_and_every_picture_has_some():
    train, _ = _cut()
    assert len({tuple(corner) for corner in train.corners}) == 60
    assert set(train.corners[:, 0]) == {0, 1}


def test_training_uses_neither_what_is_hidden_nor_the_columns_of_the_validation():
    # Of 19 x 13 places in each picture, 9 x 9 have a hidden pixel.
    places = 2 * (19 * 13 - 9 * 9)
    train, validation = _cut(CONFIG.with_updates(count=places), hidden=slice(8, 12))
    row, column = np.divmod(np.arange(2 * SIDE * SIDE) % SIDE**2, SIDE)
    hidden = (row >= 8) & (row < 12) & (column >= 8) & (column < 12)
    used = np.isin(np.arange(2 * SIDE * SIDE), list(_pixels(train)))
    assert not (used & hidden).any()
    assert not _pixels(train) & _pixels(validation)
    assert used[~hidden & (column < SIDE - 6)].all()


def test_more_tiles_than_places_are_refused():
    # A picture has 19 rows and 13 columns of places for training tiles, and 19 for validation.
    with pytest.raises(InputError, match="494 places"):
        _cut(CONFIG.with_updates(count=495))
    with pytest.raises(InputError, match="38 places"):
        _cut(CONFIG.with_updates(validation=39))
    with pytest.raises(InputError, match="leave nothing"):
        TilesConfig(size=6, edge=3)


def test_digest_tells_pictures_and_places_apart():
    other = CONFIG.cut(np.zeros((2, SIDE, SIDE, 1), np.float32), np.ones((2, SIDE, SIDE), bool), 4, 4, "pictures")[0]
    assert _cut()[0].digest == _cut()[0].digest
    assert _cut()[0].digest not in (_cut()[1].digest, other.digest)


def _criterion(components, **objective):
    tiles = _cut(components=components)[0]
    return SuperResolutionObjective(**objective).build(PLAIN, tiles), _batch(tiles)


def test_interpolation_that_inverts_the_degradation_has_no_loss():
    criterion, batch = _criterion(3)
    restore = Restore(Degradation(), 4)
    assert criterion.loss(restore, batch).item() == pytest.approx(0, abs=1e-3)
    assert criterion.figures(restore, batch)["validation_loss"].item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("components", [1, 3])
def test_loss_is_the_mean_over_measured_components_inside_the_tiles(components):
    criterion, batch = _criterion(components)
    restore = Restore(Degradation(), 4)

    def network(coarse):
        wrong = torch.ones_like(coarse)
        wrong[..., 1:-1, 1:-1] = 0.25
        wrong[:, : 3 - components] = 7
        return restore(coarse + wrong)

    assert criterion.loss(network, batch).item() == pytest.approx(0.25**2, rel=1e-2)


def test_equivariance_of_one_component_takes_no_account_of_the_others():
    restore = Restore(Degradation(), 4)
    with_others = lambda coarse: restore(coarse) + torch.tensor([5.0, 3.0, 0.0])[:, None, None]  # noqa: E731
    losses = []
    for network in (restore, with_others):
        criterion, batch = _criterion(1, equivariance=1.0)
        losses.append(criterion.loss(network, batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_training_on_tiles_learns_them_and_keeps_what_was_measured(tmp_path):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    picture = np.sin(2 * np.pi * (rows + 2 * columns) / 12).astype(np.float32)[None, ..., None]
    train, validation = CONFIG.cut(picture, np.ones((1, SIDE, SIDE), bool), 4, 0, "waves")
    network = SuperResolutionNetConfig(scale=4, expanding_filters=(8,), normalized_output=True)
    training = TrainingConfig(epochs=4, batch_size=6)
    result = fit(SuperResolutionObjective(), network, training, train, validation, tmp_path)
    losses = [line["validation_loss"] for line in result.history]
    assert losses[-1] < 0.3 * 0.5  # 0.5 is the mean square of the wave, the loss of S_z = 0

    from rayspin.application import operation

    assert operation(result.best).one_component
