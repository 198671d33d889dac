"""Training learns, resumes bit for bit, and refuses what does not fit before anything is written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.errors import InputError, RunError
from rayspin.models import (
    EffectiveFieldNetConfig,
    SuperResolutionNetConfig,
    load_weights,
    save_weights,
    weights_info,
)
from rayspin.training import (
    FieldObjective,
    SuperResolutionObjective,
    TrainingConfig,
    fit,
)
from tests.support.training import MemorySource, memory_source

FIELD_NETWORK = EffectiveFieldNetConfig(encoder_filters=(8, 16), decoder_filters=(16, 8))
SR_NETWORK = SuperResolutionNetConfig(scale=4, expanding_filters=(8, 8))
TRAINING = TrainingConfig(
    epochs=5, batch_size=4, learning_rate_schedule="one-cycle", augmentation="translations", seed=9
)


def _curve(lines):
    """A curve without what the clock says."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_second")} for line in lines]


def _lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class _KilledError(Exception):
    pass


def _die_in(epoch):
    def on_batch(at, done, _total):
        if at == epoch and done == 2:
            raise _KilledError

    return on_batch


@pytest.mark.parametrize(
    ("objective", "network"),
    [
        (FieldObjective(), FIELD_NETWORK),
        (SuperResolutionObjective(noise_amplitude=0.1), SR_NETWORK),
        (
            SuperResolutionObjective(equivariance=1.0, torque_weight=0.1, torque_strengths={"dmi": 0.1}),
            SR_NETWORK.with_updates(start="fourier", normalized_output=True),
        ),
    ],
)
@pytest.mark.parametrize(("interval", "epoch"), [(1, 3), (2, 4)])
def test_a_resumed_curve_is_the_uninterrupted_one_bit_for_bit(
    tmp_path, train, validation, objective, network, interval, epoch
):
    training = TRAINING.with_updates(checkpoint_interval=interval)
    whole = fit(objective, network, training, train, validation, tmp_path / "whole")
    with pytest.raises(_KilledError):
        fit(objective, network, training, train, validation, tmp_path / "cut", on_batch=_die_in(epoch))
    again = []
    cut = fit(objective, network, training, train, validation, tmp_path / "cut", on_epoch=again.append)
    # At most one checkpoint interval is done again.
    assert [line["epoch"] for line in again] == list(range(epoch - (epoch - 1) % interval, 6))
    assert _curve(cut.history) == _curve(whole.history) == _curve(_lines(tmp_path / "cut"))
    for name in ("weights.safetensors", "best.safetensors"):
        ours, theirs = (load_weights(tmp_path / run / name).state_dict() for run in ("whole", "cut"))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_loss_falls_and_the_files_say_what_they_are(tmp_path, train, validation):
    training = TrainingConfig(epochs=12, batch_size=4, seed=1)
    result = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path)
    losses = [line["training_loss"] for line in result.history]
    assert losses[-1] < 0.5 * losses[0]
    assert result.best_epoch["validation_loss"] == min(line["validation_loss"] for line in result.history)
    info = weights_info(result.best)
    assert info["provenance"]["figures"] == result.best_epoch
    assert info["provenance"]["training"]["epochs"] == 12
    assert load_weights(result.weights).config == FIELD_NETWORK
    assert not list(tmp_path.glob(".tmp-*"))


def test_super_resolution_learns_without_seeing_fine_spins(tmp_path, train, validation):
    training = TrainingConfig(epochs=12, batch_size=4, seed=1)
    network = SR_NETWORK.with_updates(normalized_output=True)
    result = fit(SuperResolutionObjective(), network, training, train, validation, tmp_path)
    first, last = result.history[0], result.history[-1]
    assert last["training_loss"] < 0.3 * first["training_loss"]
    assert last["fine_correlation"] > first["fine_correlation"]


def test_a_finished_training_returns_at_once_and_a_longer_one_goes_on(tmp_path, train, validation):
    short = TrainingConfig(epochs=2, batch_size=4, augmentation="translations")
    longer = short.with_updates(epochs=4)
    first = fit(FieldObjective(), FIELD_NETWORK, short, train, validation, tmp_path / "grown")
    calls = []
    before = (tmp_path / "grown" / "checkpoint.pt").stat().st_mtime_ns
    again = fit(FieldObjective(), FIELD_NETWORK, short, train, validation, tmp_path / "grown", on_epoch=calls.append)
    assert calls == []
    assert again == first
    assert (tmp_path / "grown" / "checkpoint.pt").stat().st_mtime_ns == before
    grown = fit(FieldObjective(), FIELD_NETWORK, longer, train, validation, tmp_path / "grown")
    whole = fit(FieldObjective(), FIELD_NETWORK, longer, train, validation, tmp_path / "whole")
    assert _curve(grown.history) == _curve(whole.history)


def test_a_training_that_is_asked_to_stop_keeps_a_checkpoint_and_goes_on(tmp_path, train, validation):
    training = TRAINING.with_updates(checkpoint_interval=4)
    asked = iter([False, True])
    part = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path / "cut", stop=lambda: next(asked))
    assert len(part.history) == 2
    again = []
    cut = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path / "cut", on_epoch=again.append)
    assert [line["epoch"] for line in again] == [3, 4, 5]
    whole = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path / "whole")
    assert _curve(cut.history) == _curve(whole.history)


def test_more_epochs_than_a_schedule_spans_are_refused_and_one_that_spans_them_goes_on(tmp_path, train, validation):
    """A longer schedule has other rates from its first step on; one laid over more epochs than were run has not."""
    short = TRAINING.with_updates(epochs=2)
    fit(FieldObjective(), FIELD_NETWORK, short, train, validation, tmp_path / "short")
    before = {path: path.read_bytes() for path in (tmp_path / "short").iterdir()}
    for longer in (TRAINING, TRAINING.with_updates(schedule_epochs=8)):
        with pytest.raises(
            InputError, match=r"spans 2 epochs, but the new one spans (5|8) epochs; .*training\.schedule_epochs = \1"
        ):
            fit(FieldObjective(), FIELD_NETWORK, longer, train, validation, tmp_path / "short")
    assert before == {path: path.read_bytes() for path in (tmp_path / "short").iterdir()}

    part = short.with_updates(schedule_epochs=5)
    fit(FieldObjective(), FIELD_NETWORK, part, train, validation, tmp_path / "part")
    grown = fit(FieldObjective(), FIELD_NETWORK, TRAINING, train, validation, tmp_path / "part")
    whole = fit(FieldObjective(), FIELD_NETWORK, TRAINING, train, validation, tmp_path / "whole")
    assert _curve(grown.history) == _curve(whole.history)


def test_a_schedule_shorter_than_the_training_is_refused():
    with pytest.raises(ValueError, match=r"9 exceeds schedule_epochs \(4\)"):
        TRAINING.with_updates(epochs=9, schedule_epochs=4)
    warm = TrainingConfig(epochs=9, schedule_epochs=4, warm_up=0.5)
    assert [warm.rate(step, 1) for step in (2, 8)] == [0.01, 0.01]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_network_learns_the_same(tmp_path, train, validation):
    plain = TrainingConfig(epochs=2, batch_size=4, learning_rate=0.003)
    smallest = EffectiveFieldNetConfig(encoder_filters=(4,), decoder_filters=(4,))
    curves = [
        fit(FieldObjective(), smallest, training, train, validation, tmp_path / str(training.compile)).history
        for training in (plain, plain.with_updates(compile=True))
    ]
    for a, b in zip(*curves, strict=True):
        assert b["validation_loss"] == pytest.approx(a["validation_loss"], rel=1e-3)
    assert load_weights(tmp_path / "True" / "weights.safetensors").config == smallest


def test_a_checkpoint_of_another_training_is_refused_with_the_difference(tmp_path, train, validation):
    training = TrainingConfig(epochs=1, batch_size=4)
    fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = training.with_updates(learning_rate=0.005)
    with pytest.raises(InputError, match=r"training\.learning_rate was 0\.01 and is now 0\.005"):
        fit(FieldObjective(), FIELD_NETWORK, other, train, validation, tmp_path)
    with pytest.raises(InputError, match=r"data\.training_samples was 12 and is now 8"):
        fit(FieldObjective(), FIELD_NETWORK, training, memory_source(8, seed=1), validation, tmp_path)
    with pytest.raises(InputError, match=r"\(data\.digest was '\w+' and is now '\w+'\)"):
        fit(FieldObjective(), FIELD_NETWORK, training, memory_source(12, seed=3), validation, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path, train, validation):
    mark = tmp_path / "was-run"

    class Hostile:
        def __reduce__(self):
            return Path.touch, (mark,)

    folder = tmp_path / "run"
    folder.mkdir()
    training = TrainingConfig(epochs=1, batch_size=4)
    for write in (torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, protocol=2))):
        write({"job": Hostile()}, folder / "checkpoint.pt")
        with pytest.raises(InputError, match="not a checkpoint of a training"):
            fit(FieldObjective(), FIELD_NETWORK, training, train, validation, folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("network", "training", "ranks", "message"),
    [
        (
            EffectiveFieldNetConfig(),
            TrainingConfig(batch_size=13),
            1,
            "13 exceeds the number of training samples, 12",
        ),
        (EffectiveFieldNetConfig(), TrainingConfig(batch_size=4), 3, "can't be split over 3 workers"),
        (EffectiveFieldNetConfig(), TrainingConfig(batch_size=12), 6, "5 validation samples for 6 workers"),
        (EffectiveFieldNetConfig(), TrainingConfig(batch_size=12, accumulation=5), 1, "in 5 pieces"),
        (
            EffectiveFieldNetConfig(encoder_filters=(4,) * 6, decoder_filters=(4,) * 6),
            TrainingConfig(batch_size=4),
            1,
            "multiples of 64",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, train, validation, network, training, ranks, message
):
    with pytest.raises(InputError, match=message):
        fit(FieldObjective(), network, training, train, validation, tmp_path / "run", world_size=ranks)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, train, validation):
    training = TrainingConfig(epochs=3, batch_size=4, learning_rate=1e30)
    with pytest.raises(RunError, match="not finite"):
        fit(SuperResolutionObjective(), SR_NETWORK, training, train, validation, tmp_path)


def test_pieces_of_a_batch_add_up_to_its_gradient(tmp_path, train, validation, monkeypatch):
    """Batch norm sees a piece at a time, so the pieces are made alike here: then nothing may differ.

    Adam hides a factor of all gradients, so that their norms are looked at, too.
    """
    norms, clip = [], nn.utils.clip_grad_norm_

    def clip_and_note(*arguments):
        norms.append(float(clip(*arguments)))

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", clip_and_note)

    class Repeating(MemorySource):
        def read(self, positions):
            return np.resize(self.spins_NYXC[:6], (len(positions), *self.spins_NYXC.shape[1:]))

    source = Repeating(train.spins_NYXC, train.samples)
    whole = TrainingConfig(epochs=2, batch_size=12, learning_rate=0.003, gradient_clip=1e9)
    pieces = whole.with_updates(accumulation=2)
    curves = [
        fit(
            FieldObjective(), FIELD_NETWORK, training, source, validation, tmp_path / str(training.accumulation)
        ).history
        for training in (whole, pieces)
    ]
    for a, b in zip(*curves, strict=True):
        assert b["training_loss"] == pytest.approx(a["training_loss"], rel=1e-4)
    half = len(norms) // 2
    assert norms[half:] == pytest.approx(norms[:half], rel=1e-3)


def test_a_training_out_of_patience_ends_and_stays_ended(tmp_path, train, validation):
    # Steps of this size can't improve on the first epoch for long.
    training = TrainingConfig(epochs=40, batch_size=4, learning_rate=1e-9, patience=2, checkpoint_interval=50)
    result = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path)
    losses = [line["validation_loss"] for line in result.history]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 40
    again = []
    fit(FieldObjective(), FIELD_NETWORK, training, train, validation, tmp_path, on_epoch=again.append)
    assert again == []
    more = training.with_updates(patience=3)
    assert len(fit(FieldObjective(), FIELD_NETWORK, more, train, validation, tmp_path).history) > len(losses)


def test_bfloat16_learns_the_same_to_its_precision(tmp_path, train, validation):
    exact = TrainingConfig(epochs=4, batch_size=4, learning_rate=0.003)
    short = exact.with_updates(precision="bfloat16")
    curves = [
        [
            line["training_loss"]
            for line in fit(FieldObjective(), FIELD_NETWORK, t, train, validation, tmp_path / t.precision).history
        ]
        for t in (exact, short)
    ]
    assert curves[0] != curves[1]
    assert curves[1] == pytest.approx(curves[0], rel=0.05)


def test_the_gradient_is_clipped(tmp_path, train, validation):
    """Adam alone does not see the scale of the gradient, but at a clip near its epsilon its steps vanish."""
    free = TrainingConfig(epochs=1, batch_size=4)
    clipped = free.with_updates(gradient_clip=1e-12)
    moved = []
    for training in (free, clipped):
        folder = tmp_path / str(training.gradient_clip)
        result = fit(FieldObjective(), FIELD_NETWORK, training, train, validation, folder)
        moved.append(load_weights(result.weights).last.weight)
    start = fit(
        FieldObjective(),
        FIELD_NETWORK,
        free.with_updates(learning_rate=1e-12),
        train,
        validation,
        tmp_path / "0",
    )
    origin = load_weights(start.weights).last.weight
    assert (moved[0] - origin).abs().max() > 1e-3
    assert (moved[1] - origin).abs().max() < 1e-5


def test_the_global_random_stream_is_left_alone(tmp_path, train, validation):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fit(FieldObjective(), FIELD_NETWORK, TrainingConfig(epochs=1, batch_size=4), train, validation, tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_rates_follow_their_schedules():
    constant = TrainingConfig()
    one_cycle = constant.with_updates(learning_rate_schedule="one-cycle")
    cosine = constant.with_updates(learning_rate_schedule="cosine")
    assert {constant.rate(step, 1) for step in range(100)} == {0.01}
    rates = [one_cycle.rate(step, 1) for step in range(100)]
    assert rates.index(max(rates)) in (29, 30)
    assert max(rates) == pytest.approx(0.01, rel=1e-2)
    assert rates[0] < 1e-4 > rates[-1]
    assert cosine.rate(0, 1) == pytest.approx(0.01, rel=1e-3)
    assert cosine.rate(49, 1) == pytest.approx(0.005, rel=2e-2)


def test_a_constant_rate_and_a_schedule_do_not_follow_each_other():
    constant = TrainingConfig(learning_rate_schedule="constant", epochs=4)
    cosine = constant.with_updates(learning_rate_schedule="cosine")
    with pytest.raises(InputError, match="schedule is constant, but the new one spans 4 epochs; undo the change"):
        cosine.check_follows(constant, "folder")
    with pytest.raises(InputError, match="spans 4 epochs, but the new one is constant; undo the change, or train"):
        constant.check_follows(cosine, "folder")


def test_a_warm_up_precedes_any_schedule():
    warm = TrainingConfig(warm_up=0.2)
    rates = [warm.rate(step, 1) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[0] < 1e-4
    assert rates[9] < 0.005 < rates[10]
    assert set(rates[20:]) == {0.01}
    cosine = warm.with_updates(learning_rate_schedule="cosine")
    assert [cosine.rate(step, 1) for step in range(20)] == rates[:20]
    assert cosine.rate(60, 1) == pytest.approx(0.005, rel=0.02)
    # A longer rise than its own 30 % is kept, a shorter one is not.
    cycle = TrainingConfig(learning_rate_schedule="one-cycle")
    assert cycle.rate(40, 1) == cycle.with_updates(warm_up=0.1).rate(40, 1)
    assert cycle.rate(40, 1) > cycle.with_updates(warm_up=0.8).rate(40, 1)


def test_weights_can_be_saved_while_training(tmp_path):
    network = SR_NETWORK.build().train()
    save_weights(tmp_path / "w.safetensors", network, {})
    assert network.training
