"""The five modules: they learn, padding is nothing to them, every option of a loss does something."""

import json

import pytest
import torch

import lit_models
from lit_models.midi import baselines

from .songs import NAMES, Data, attached, make, make_songs, make_trainer

LEARNT = {
    "EmotionRecognizer": ("r2", 0.5),
    "MelodyTransformer": ("f1", 0.7),
    "HarmonyPredictor": ("accuracy", 0.5),
    "DynamicsEngine": ("velocity_r2", 0.5),
    "GroovePredictor": ("offset_r2", 0.5),
}
LOWER = ("mse", "mae", "rmse", "nll", "bce", "kl", "loss")


def results_of(module, songs):
    trainer = make_trainer()
    trainer.test(module, Data(songs), verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def gradient(module, songs):
    module.zero_grad()
    logits, _ = module.run(songs.inputs, valid=baselines.valid_frames(songs.mask))
    sum(module.losses(module.sums(logits, songs)).values()).backward()
    return torch.cat([p.grad.flatten() for p in module.network.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_known_is_learnt(name):
    songs = make_songs(name, songs=16)
    target_mean = (songs.targets * songs.mask).sum((0, 1)) / songs.mask.sum((0, 1)).clamp(min=1)
    module = make(
        name,
        target_mean=target_mean.tolist(),
        optimizer={"lr": 0.01},
        network={"backbone": "mlp", "hidden_size": 64, "num_layers": 1},
    )
    make_trainer(max_epochs=80, limit_val_batches=0).fit(module, Data(songs, batch_size=16))
    found = results_of(module, songs)
    metric, reached = LEARNT[name]
    assert found[f"test/{metric}"] > reached
    rows = [key for key in found if key.startswith(f"test/{metric}/") and "teacher" not in key]
    assert {key.rsplit("/", 1)[1] for key in rows} >= {"constant", "chance", "copy"}
    assert all(not found[key] > reached / 2 for key in rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_has_its_rows(name):
    found = results_of(make(name), make_songs(name))
    plain = {key for key in found if key.count("/") == 1 and "loss" not in key}
    for key in plain:
        rows = ("constant", "chance") if key in ("test/nll", "test/bce") else ("constant", "chance", "copy")
        assert all(f"{key}/{row}" in found for row in rows), key


@pytest.mark.parametrize("backbone", ["requirement", "tcn"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name, backbone):
    songs = make_songs(name, songs=4)
    padded = songs.padded(7, 1.0)  # finite, but nothing like zero
    one, other = (make(name, network={"backbone": backbone, "hidden_size": 16, "num_layers": 2}) for _ in range(2))
    torch.testing.assert_close(gradient(other, padded), gradient(one, songs), rtol=1e-4, atol=1e-6)
    expected = results_of(one, songs)
    for key, value in results_of(other, padded).items():
        assert value == pytest.approx(expected[key], rel=1e-4, abs=1e-5, nan_ok=True), key


OPTIONS = {
    "EmotionRecognizer": {"ccc_weight": 2.0, "auxiliary_weight": 1.0},
    "MelodyTransformer": {"pos_weight": 3.0},
    "HarmonyPredictor": {"label_smoothing": 0.2},
    "DynamicsEngine": {"regression": "huber", "articulation_weight": 3.0, "class_weight": 2.0},
    "GroovePredictor": {"regression": "huber", "velocity_weight": 3.0, "swing_weight": 2.0},
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OPTIONS for option in OPTIONS[name]])
def test_every_option_of_a_loss_changes_the_gradient(name, option):
    songs = make_songs(name, songs=4)
    usual = gradient(make(name), songs)
    assert torch.equal(gradient(make(name), songs), usual)
    assert not torch.allclose(gradient(make(name, objective={option: OPTIONS[name][option]}), songs), usual)


@pytest.mark.parametrize(("name", "lower"), [("DynamicsEngine", 0.01), ("GroovePredictor", 0.01)])
def test_the_corner_of_hubers_loss_can_be_moved(name, lower):
    songs = make_songs(name, songs=4)
    huber = gradient(make(name, objective={"regression": "huber"}), songs)
    assert not torch.allclose(
        gradient(make(name, objective={"regression": "huber", "huber_delta": lower}), songs), huber
    )


def test_chance_is_of_no_use_where_a_song_has_one_emotion():
    songs = make_songs("EmotionRecognizer", songs=16)
    songs.targets[:] = songs.targets[:, :1]
    found = results_of(make("EmotionRecognizer"), songs)
    assert found["test/r2/chance"] < 0.3
    assert found["test/mse/chance"] > 0.2


def test_the_auxiliary_head_is_trained_but_not_exported():
    songs = make_songs("EmotionRecognizer", songs=4)
    module = make("EmotionRecognizer")
    gradient(module, songs)
    assert module.auxiliary.weight.grad.abs().max() > 0
    exported = {id(p) for layer in module.export_layers() for p in layer.parameters()}
    assert id(module.auxiliary.weight) not in exported


def test_a_data_set_without_ratings_trains_by_the_quadrant_alone():
    songs = make_songs("EmotionRecognizer", songs=4)
    songs.mask[..., :2] = False
    found = gradient(make("EmotionRecognizer"), songs)
    assert torch.isfinite(found).all()
    assert found.abs().max() > 0


def test_classes_of_dynamics_are_the_odds_of_the_outputs():
    module = make("DynamicsEngine").eval()
    inputs = torch.randn(2, 5, 32)
    with torch.no_grad():
        logits, outputs = module.run(inputs)[0][..., 2:8], module(inputs)[..., 2:8]
    odds = outputs / (1 - outputs)
    torch.testing.assert_close(odds / odds.sum(-1, keepdim=True), logits.softmax(-1))
    assert torch.equal(outputs.argmax(-1), logits.argmax(-1))


def test_the_quantised_row_plays_on_the_grid():
    songs = make_songs("GroovePredictor")
    found = results_of(make("GroovePredictor"), songs)
    hits = songs.mask[..., :9]
    late = (songs.targets[..., :9] / 2)[hits]
    step = (125 / songs.inputs[..., -1:]).expand_as(hits)[hits]
    assert found["test/timing_mse/quantised"] == pytest.approx(float(late.square().mean()), rel=1e-5)
    assert found["test/timing_mae_ms/quantised"] == pytest.approx(float((late.abs() * step).mean()), rel=1e-5)


def test_milliseconds_need_the_tempo():
    with pytest.raises(ValueError, match="none is called 'tempo'"):
        results_of(make("GroovePredictor", features=[]), make_songs("GroovePredictor"))


def test_the_emotion_of_a_song_is_the_first_two_outputs():
    module = make("EmotionRecognizer").eval()
    inputs = torch.randn(1, 4, 128)
    torch.testing.assert_close(module.emotion(inputs), module(inputs)[..., :2])


def test_expression_and_humanisation_are_playable():
    velocity, length = make("DynamicsEngine").express(torch.randn(2, 6, 32))
    assert velocity.dtype == torch.int64
    assert velocity.min() >= 1
    assert velocity.max() <= 127
    assert ((length >= 0) & (length <= 1)).all()
    module, inputs = make("GroovePredictor").eval(), torch.randn(2, 6, 64)
    played, outputs = module.humanize(inputs), module(inputs)
    torch.testing.assert_close(played.offset, outputs[..., :9] / 2)
    torch.testing.assert_close((played.velocity / 63.5 - 1), outputs[..., 9:18], atol=0.02, rtol=0)
    assert torch.equal(played.swing, outputs[..., 18])


# ---------------------------------------------------------------------- threshold, checkpoints
def test_the_threshold_is_tuned_in_validation_kept_in_the_checkpoint_and_used_in_the_test(tmp_path):
    songs = make_songs("MelodyTransformer")
    songs = songs._replace(targets=(songs.inputs.repeat(1, 1, 2) > 1.5).float())
    module = make(
        "MelodyTransformer", network={"backbone": "mlp", "hidden_size": 32}, input_mean=[0.1] * 64, input_std=[2.0] * 64
    )
    trainer = make_trainer(max_epochs=3)
    trainer.fit(module, Data(songs))
    tuned = float(module.threshold)
    assert tuned == pytest.approx(float(trainer.callback_metrics["val/threshold"]))
    assert tuned != 0.5
    best = float(trainer.callback_metrics["val/f1"])
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    loaded = lit_models.load(tmp_path / "end.ckpt")
    assert float(loaded.threshold) == tuned
    assert loaded.export_normaliser()[0].tolist() == pytest.approx([0.1] * 64)
    assert loaded.export_normaliser()[1].tolist() == [2.0] * 64
    assert results_of(loaded, songs)["test/f1"] == pytest.approx(best, rel=1e-5)
    loaded.threshold.fill_(0.9)
    assert results_of(loaded, songs)["test/threshold"] == pytest.approx(0.9)
    assert results_of(loaded, songs)["test/f1"] < best


def test_a_sanity_check_and_a_validation_of_its_own_tune_nothing():
    module = make("MelodyTransformer")
    trainer = make_trainer()
    trainer.validate(module, Data(make_songs("MelodyTransformer")), verbose=False)
    assert float(module.threshold) == 0.5


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(ValueError, match="outputs has 2 entries for 64 columns"):
        lit_models.HarmonyPredictor(outputs=["a", "b"])
    with pytest.raises(ValueError, match=r"label_smoothing=1\.0"):
        lit_models.HarmonyPredictor(objective={"label_smoothing": 1.0})
    with pytest.raises(ValueError, match="output_size=4"):
        lit_models.EmotionRecognizer(output_size=4)
    with pytest.raises(ValueError, match="temperature=0"):
        lit_models.MelodyTransformer(distil={"temperature": 0.0})


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_plain(name, tmp_path):
    songs = make_songs(name)
    module = make(name)
    predicted = make_trainer().predict(module, Data(songs))
    assert sum(len(batch) for batch in predicted) == len(songs.inputs)
    json.dumps(dict(module.hparams))
    module = attached(module)
    assert predicted[0].shape == songs.targets[:4].shape
