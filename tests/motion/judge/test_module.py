"""The trained judge: what it learns, how a model is judged by it, and that it stays outside of the model."""

import pytest
import torch

import datamodules
import lit_models
from datamodules.motion.neighbours import nearest
from datamodules.motion.table import ClipTable, Row
from lit_models.motion.judge.module import MotionEvaluator
from lit_models.motion.judge.motion_evaluation import MotionEvaluation
from lit_models.motion.judge.network import Network
from lit_models.motion.text import Text

from ...nested import merged
from ..bodies import layout, lengths, motion, normal
from ..test_module import make, trainer

torch.set_num_threads(1)
JUDGED = {"fid", "diversity", "r_precision_1", "r_precision_2", "r_precision_3", "matching_score"}


@pytest.fixture(scope="module")
def data():
    return datamodules.MotionClips(
        clips=104, frames=60, val=0.3, test=0.3, batch_size=26, steps_per_epoch=60, kind="rot6d_velocity"
    )


def judge_of(data, **changes):
    torch.manual_seed(0)
    sizes = {"network": {"hidden_size": 48, "feature_size": 16}, "text": {"size": 32}}
    changes = merged(sizes, {"optimizer": {"lr": 3e-3}}, changes)
    return lit_models.MotionEvaluator(data.features, data.statistics, **changes)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A judge, its checkpoint and what it logged before and after."""
    folder, judge = tmp_path_factory.mktemp("judge"), judge_of(data)
    run = trainer(folder, limit_val_batches=0)
    before = logged(judge, data, folder)
    run.fit(judge, data)
    after = logged(judge, data, folder)
    run.save_checkpoint(folder / "judge.ckpt")
    return judge, folder / "judge.ckpt", before, after


def logged(module, data, folder, what="validate"):
    run = trainer(folder)
    getattr(run, what)(module, data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


def test_the_judge_learns_to_find_texts_and_to_rebuild_motion(trained):
    _, _, before, after = trained
    assert after["val/r_precision_3"] > before["val/r_precision_3"] + 0.3
    assert after["val/r_precision_3"] > after["val/r_precision_3/shuffled"] + 0.3
    assert after["val/matching_score"] < after["val/matching_score/shuffled"]
    assert after["val/autoencoder"] < 0.8 * before["val/autoencoder"]
    assert after["val/autoencoder"] < after["val/autoencoder/constant"]
    assert after["val/loss"] == pytest.approx(after["val/autoencoder"] + after["val/contrast"], rel=1e-5)


def test_without_text_it_is_an_auto_encoder_alone(data, tmp_path):
    judge = judge_of(data, text={"encoder": None})
    found = logged(judge, data, tmp_path)
    assert not [name for name in found if "precision" in name or "contrast" in name]
    batch = data.split("val").__getitems__([(0, 0), (1, 0)])
    assert judge.common_features(batch.motion, batch.valid, batch.captions) is None
    evaluation = MotionEvaluation(make(data).layout, [])
    evaluation.judge_by(judge)
    evaluation.add_losses({"loss": torch.zeros(2)})
    evaluation.add({"model": batch.motion.roll(1, 0)}, batch)
    told = evaluation.compute().keys()
    assert {"fid", "diversity", "fid/ground_truth", "diversity/ground_truth"} <= told
    assert not [name for name in told if "precision" in name or "noise" in name]


def test_a_model_is_judged_beside_truth_neighbours_and_noise(data, trained, tmp_path):
    found = logged(make(data, evaluator=str(trained[1]), repeats=2), data, tmp_path, "test")
    rows = ("", "/ground_truth", "/neighbour", "/noise")
    assert {f"test/{name}{row}" for name in JUDGED for row in rows} <= found.keys()
    assert found["test/fid/ground_truth"] == pytest.approx(0, abs=1e-6)
    assert found["test/fid/neighbour"] < 0.5 * found["test/fid/noise"]
    assert found["test/r_precision_3/neighbour"] > found["test/r_precision_3/noise"]
    assert found["test/mse/neighbour"] < found["test/mse/noise"]
    assert {"test/multimodality", "test/multimodality/noise"} <= found.keys()
    assert logged(trained[0], data, tmp_path, "test")["test/r_precision_1"] == found["test/r_precision_1/ground_truth"]


def test_a_batch_without_captions_to_repeat_is_harmless(data, trained):
    module = make(data, evaluator=str(trained[1]), repeats=2)
    module.evaluation.judge_by(trained[0])
    batch = data.split("val").__getitems__([(0, 0), (1, 0)])
    later = batch._replace(item=batch.item + 40)
    made = batch.motion.clone()
    module.evaluation.repeat(later, made, 2, module._make, module._noise)
    module.evaluation.repeat(batch, made, 2, module._make, module._noise)
    assert module.evaluation.kinds["multimodality"]["model"].pairs == 4


def test_repeats_below_two_leave_multimodality_out(data, trained, tmp_path):
    found = logged(make(data, evaluator=str(trained[1]), repeats=1), data, tmp_path)
    assert not [name for name in found if "multimodality" in name]


def test_without_an_evaluator_its_metrics_are_left_out_and_that_is_said(data, tmp_path, caplog):
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        found = logged(make(data), data, tmp_path)
    assert "model.evaluator is not set: no FID" in caplog.text
    assert not [name for name in found if "fid" in name or "precision" in name]


def test_the_weights_of_the_evaluator_are_in_no_checkpoint_of_the_model(data, trained, tmp_path):
    module = make(data, evaluator=str(trained[1]))
    run = trainer(tmp_path, limit_train_batches=1)
    run.fit(module, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    kept = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert kept["state_dict"].keys() == make(data).state_dict().keys()
    assert len(list(module.parameters())) == len(list(make(data).parameters()))
    assert lit_models.load(tmp_path / "model.ckpt").hparams["evaluator"] == str(trained[1])  # and loads without it


def test_an_evaluator_that_does_not_fit_is_refused(data, trained, tmp_path):
    other = datamodules.MotionClips(clips=12, frames=24, val=0.3, test=0.3, kind="rot6d")
    with pytest.raises(ValueError, match=r"judge\.ckpt was trained on features .*rot6d_velocity.*'rot6d'"):
        trainer(tmp_path).validate(make(other, evaluator=str(trained[1])), other, verbose=False)
    run = trainer(tmp_path, limit_train_batches=1, limit_val_batches=0)
    run.fit(make(data), data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"a MotionDDPM\. Give the run of a MotionEvaluator"):
        trainer(tmp_path).validate(make(data, evaluator=str(tmp_path / "model.ckpt")), data, verbose=False)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trainer(tmp_path).validate(make(data, evaluator="nowhere"), data, verbose=False)


def test_multimodality_is_told_only_of_repeats():
    evaluation = MotionEvaluation(layout(), [])
    judge = MotionEvaluator({"size": layout().size}, network=Network(16, 8), text=Text(None))
    evaluation.judge_by(judge)
    clips, valid = motion(batch=3).float(), lengths(24, 17, 9)
    evaluation.add_repeats("model", torch.stack([clips, clips]), valid)
    evaluation.add_repeats("noise", torch.stack([clips, normal(*clips.shape).float()]), valid)
    same, noise, truth = (evaluation.kinds["multimodality"][row] for row in ("model", "noise", "ground_truth"))
    assert same.compute() == {"multimodality": 0}
    assert noise.compute()["multimodality"] > 0
    assert not truth.update_called
    evaluation.add_repeats("model", clips[None, :0], valid[:0])  # a batch of other items
    assert same.compute() == {"multimodality": 0}
    evaluation.reset()
    assert not same.update_called


def test_an_evaluator_without_contacts_judges_motion_without_them(data, trained, tmp_path):
    with_contacts = datamodules.MotionClips(
        clips=104, frames=60, val=0.3, test=0.3, batch_size=26, kind="rot6d_velocity", contacts=True
    )
    found, plain = (logged(make(d, evaluator=str(trained[1]), repeats=2), d, tmp_path) for d in (with_contacts, data))
    for name in ("r_precision_1", "diversity", "matching_score"):
        key = f"val/{name}/ground_truth"
        assert found[key] == pytest.approx(plain[key], rel=1e-5)
    assert found["val/fid"] > 0


def test_neighbours_share_words_then_length():
    def row(frames, value, *captions):
        return Row(torch.full((frames, 2), float(value)), captions, None, None)

    rows = [row(9, 1, "a man walks", "he goes"), row(4, 2, "a man walks"), row(6, 3, "a man waves")]
    rows[1].motion[-1] = 7.0
    found = nearest(ClipTable(rows, 8, 20.0, train=True), ["a man WALKS", "A man walks!", "waves"], [9, 5, 2])
    assert found.shape == (3, 9, 2)
    assert found[0, :, 0].tolist() == [1] * 9  # shown in 8 frames, the last one held
    assert found[1, :, 0].tolist() == [2, 2, 2, 7, 7, 0, 0, 0, 0]
    assert found[2, :, 0].tolist() == [3, 3, *[0] * 7]
