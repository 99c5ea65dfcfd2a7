import pytest
import torch
from lightning.pytorch import Trainer

import callbacks
import datamodules
import lit_models
from datamodules.motion.readers import read_folder
from lit_models.diffusion.schedules import make_diffusion, scaled

from ..nested import merged

torch.set_num_threads(1)
TINY = {
    "network": {"hidden_size": 32, "num_layers": 1, "num_heads": 2},
    "process": {"num_train_timesteps": 10},
    "text": {"size": 16},
}


@pytest.fixture(scope="module")
def data():
    return datamodules.MotionClips(clips=40, frames=24, val=0.2, test=0.2, batch_size=8, steps_per_epoch=150)


@pytest.fixture(scope="module")
def speech():
    return datamodules.MotionClips(generated="speech", clips=12, frames=80, val=0.25, test=0.25, batch_size=4)


def make(data, **changes):
    torch.manual_seed(0)
    linked = {name: getattr(data, name) for name in data.links}
    return lit_models.MotionDDPM(**linked | merged(TINY, changes))


def trainer(folder, *extra, **changes):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
    }
    settings = quiet | changes | {"callbacks": list(extra)}
    return Trainer(accelerator="cpu", default_root_dir=folder, max_epochs=1, **settings)


def logged(module, data, folder):
    run = trainer(folder)
    run.validate(module, data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


def batch_of(data, rows=4):
    return data.split("test").__getitems__([(row, 0) for row in range(rows)])


def test_training_learns_and_the_truth_stands_beside(data, tmp_path):
    module = make(data, optimizer={"lr": 3e-3}, network={"hidden_size": 64})
    before = logged(module, data, tmp_path)
    trainer(tmp_path, limit_val_batches=0).fit(module, data)
    after = logged(module, data, tmp_path)
    assert after["val/reconstruction"] < 0.85 * before["val/reconstruction"]
    assert after["val/mse/ground_truth"] == 0
    assert 0 < after["val/jerk/ground_truth"] < after["val/jerk/noise"]


def test_the_signal_scale_multiplies_signal_over_noise():
    plain = make_diffusion(20)
    less = scaled(plain, 0.25)
    torch.testing.assert_close(less.snr(torch.arange(1, 21)), plain.snr(torch.arange(1, 21)) / 16)
    assert less.alpha_bar[0] == 1
    torch.testing.assert_close(scaled(plain, 1.0).alpha_bar, plain.alpha_bar)


def test_motion_is_a_function_of_text_and_seed(data):
    module = make(data)
    module.network.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    module.network.modulations.linear.weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    motion = module.generate("someone waves", num_frames=20)
    assert motion.shape == (1, 20, data.features["size"])
    assert torch.equal(motion, module.generate("someone waves", num_frames=20))
    assert (motion - module.generate("someone squats", num_frames=20)).abs().max() > 1e-3
    assert (motion - module.generate("someone waves", num_frames=20, seed=1)).abs().max() > 1e-3
    assert (motion - module.generate("someone waves", num_frames=20, guidance_scale=1.0)).abs().max() > 1e-3
    assert (motion - module.generate("someone waves", num_frames=20, sampling_steps=3)).abs().max() > 1e-3
    assert (motion - module.generate("someone waves", num_frames=20, sampler="ddpm")).abs().max() > 1e-3
    both = module.generate(["someone waves", "someone squats"], num_frames=20)
    torch.testing.assert_close(both[:1], motion, rtol=1e-4, atol=1e-4)


def test_a_beginning_comes_back_bit_for_bit_and_long_motion_is_made_in_windows(data):
    module, motion = make(data), batch_of(data).motion
    made = module.generate("someone walks", num_frames=20, prefix=motion[0, :6])
    assert torch.equal(made[0, :6], motion[0, :6])
    with pytest.raises(ValueError, match=r"num_frames=50.*overlap"):
        module.generate("someone walks", num_frames=50)
    assert module.generate("someone walks", num_frames=50, overlap=6).shape[1] == 50


def test_sound_decides_the_motion(speech):
    module = make(speech, text={"encoder": None})
    module.network.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    audio = batch_of(speech, 2).audio
    one, other = (module.generate(audio=part, num_frames=audio.shape[1]) for part in audio)
    assert (one - other).abs().max() > 1e-3


def test_sound_is_judged_by_its_beats(speech, tmp_path):
    found = logged(make(speech, text={"encoder": None}), speech, tmp_path)
    assert found["val/beat_consistency/ground_truth"] > 0.1
    assert "val/beat_consistency" in found


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"dropout": 0.5}},
        {"process": {"beta_schedule": "linear"}},
        {"process": {"signal_scale": 0.5}},
        {"network": {"frames_per_token": 2}},
        {"process": {"prediction_type": "epsilon"}},
        {"process": {"prediction_type": "v_prediction"}},
        {"objective": {"loss_weighting": "min_snr"}},
        {"objective": {"loss_weighting": "snr"}},
        {"objective": {"loss_weights": {"velocity": 0.0}}},
        {"objective": {"loss_weights": {"acceleration": 0.0}}},
        {"objective": {"loss_weights": {"forward_kinematics": 0.0}}},
        {"objective": {"loss_weights": {"bone_direction": 1.0}}},
        {"objective": {"loss_weights": {"foot_contact": 1.0}}},
        {"objective": {"noise_weighting": "uniform"}},
        {"objective": {"condition_dropout": 0.9}},
        {"objective": {"clean_share": 1.0}},
        {"text": {"encoder": None}},
    ],
    ids=str,
)
def test_every_flag_of_training_changes_the_weights(data, tmp_path, changes):
    weights = []
    for flags in ({}, changes):
        module = make(data, **flags)
        trainer(tmp_path, limit_train_batches=3, limit_val_batches=0).fit(module, data)
        weights.append(module.network.enter.weight.detach().clone())
    assert (weights[0] - weights[1]).abs().max() > 1e-7


def test_predictions_are_written_as_bvh_npz_and_film(data, tmp_path):
    run = trainer(tmp_path, callbacks.WriteMotions(most=2))
    run.predict(make(data), data)
    written = sorted(path.name for path in (tmp_path / "motions").iterdir())
    assert written == [f"000{k}.{ending}" for k in range(2) for ending in ("bvh", "gif", "npz")]
    clips = read_folder(tmp_path / "motions" / "0000.bvh")
    assert len(clips[0]) == len(data.split("test").rows[0].motion[:24])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"condition_dropout": 1.5}}, "condition_dropout=1.5"),
        ({"objective": {"clean_share": -0.1}}, "clean_share=-0.1"),
        ({"process": {"signal_scale": 0.0}}, "signal_scale=0.0"),
        ({"objective": {"loss_weights": {"speed": 1.0}}}, "speed.*velocity"),
        ({"objective": {"loss_weights": {"bone_length": 1.0}}}, "bone_length"),
        ({"sampling": {"sampler": "euler"}}, r"sampling\.sampler.*'ddim'.*euler"),
    ],
)
def test_bad_settings_say_what_to_write(data, changes, message):
    with pytest.raises(ValueError, match=message):
        make(data, **changes)
