"""Event files of trainings, read by TensorBoard."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rayspin.models import EffectiveFieldNetConfig
from rayspin.training import FieldObjective, TrainingConfig, best_epoch, fit
from tests.support.training import memory_source

NETWORK = EffectiveFieldNetConfig(encoder_filters=(6, 8), decoder_filters=(6, 4))
TRAINING = TrainingConfig(epochs=4, batch_size=4, checkpoint_interval=2)


@pytest.fixture
def train():
    return memory_source(12, seed=1)


@pytest.fixture
def validation():
    return memory_source(5, seed=2)


class _KilledError(Exception):
    pass


def _interrupt(epoch, done, _total):
    if (epoch, done) == (4, 1):
        raise _KilledError


def _events(folder):
    [_] = folder.glob("events.out.tfevents.*")
    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}


def test_each_figure_of_each_epoch_is_logged_once_after_an_interruption(tmp_path, train, validation):
    arguments = (FieldObjective(), NETWORK, TRAINING, train, validation, tmp_path)
    with pytest.raises(_KilledError):
        fit(*arguments, on_batch=_interrupt)
    # Epoch 3 was logged and is repeated, because the last checkpoint has two epochs.
    assert [event.step for event in _events(tmp_path)["training_loss"]] == [1, 2, 3]
    fit(*arguments)
    events = _events(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert set(events) | {"epoch"} == set(lines[0])
    for name, series in events.items():
        assert [event.step for event in series] == [1, 2, 3, 4]
        assert [event.value for event in series] == pytest.approx([line[name] for line in lines], rel=1e-6)
    times = [event.wall_time for event in events["training_loss"]]
    trained = sum(line["seconds"] for line in lines[1:])
    assert times[-1] - times[0] == pytest.approx(trained, abs=0.01)


def test_finished_training_does_not_change_its_event_file(tmp_path, train, validation):
    arguments = (FieldObjective(), NETWORK, TRAINING, train, validation, tmp_path)
    fit(*arguments)
    [before] = [(path, path.read_bytes()) for path in tmp_path.glob("events.*")]
    fit(*arguments)
    [after] = [(path, path.read_bytes()) for path in tmp_path.glob("events.*")]
    assert before == after


def test_best_epoch_is_the_first_of_equal_ones():
    curve = [{"epoch": n, "validation_loss": loss} for n, loss in enumerate((3.0, 1.0, 2.0, 1.0))]
    assert best_epoch(curve)["epoch"] == 1
