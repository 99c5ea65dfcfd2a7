"""The laws of the house, for every registered module."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint

import callbacks
import lit_models
from lit_models.core.checkpoint import CheckpointError
from lit_models.core.evaluation import without_twin
from lit_models.core.hparams import require_plain
from lit_models.core.normalizer import Standardizer

from .cases import NAMES, each_step, make, make_data, make_trainer, noisy, same_state

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create"),
]


class StopAt(Callback):
    """Raises in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            raise KeyError("a failure in the middle of a step")


@dataclass(frozen=True)
class Whole:
    """A run that nothing has interrupted: its module, its steps, and where a checkpoint of each step lies."""

    module: LightningModule
    steps: int
    folder: Path


@pytest.fixture(scope="module")
def wholes():
    """Those made so far, by name."""
    return {}


@pytest.fixture
def whole(name, wholes, tmp_path_factory):
    """Trained once for all tests of a module."""
    if name not in wholes:
        folder = tmp_path_factory.mktemp(name)
        module, data = make(name, **noisy(name))
        trainer = make_trainer(folder, each_step(folder))
        trainer.fit(module, data)
        trainer.save_checkpoint(folder / "end.ckpt")
        wholes[name] = Whole(module, trainer.global_step, folder)
    return wholes[name]


def test_hyper_parameters_are_plain_and_checkpoints_load_without_pickle(name, whole):
    require_plain(whole.module.hparams, name)
    checkpoint = torch.load(next(whole.folder.glob("*.ckpt")), weights_only=True)
    assert checkpoint["litmotif"]["class"] == name


def test_statistics_of_the_data_reach_it_by_its_links_alone(name):
    """And by nothing in between: neither a hook of the trainer nor the datamodule that it holds."""
    module, data = make(name)
    given = [part for part in module.modules() if isinstance(part, Standardizer) and not part.running]
    assert all(part.fitted for part in given)
    for link in {"statistics", "input_mean", "input_std"}.intersection(data.links):
        assert module.hparams[link] == getattr(data, link)


def test_a_checkpoint_of_an_earlier_version_is_refused_in_words(name, whole, tmp_path):
    checkpoint = torch.load(whole.folder / "end.ckpt", weights_only=True)
    missing = sorted(checkpoint["state_dict"])[-1]
    del checkpoint["state_dict"][missing]
    module, _ = make(name, **noisy(name))
    with pytest.raises(CheckpointError, match=f"has no {missing}: an earlier version"):
        module.on_load_checkpoint(checkpoint)


def test_load_gives_back_the_same_module_in_eval_mode(name, whole):
    end, trained = whole.folder / "end.ckpt", whole.module.state_dict()
    loaded = lit_models.load(end)
    assert type(loaded).__name__ == name
    assert not loaded.training
    assert same_state(loaded.state_dict(), trained)
    assert not same_state(lit_models.load(end, weights="raw").state_dict(), trained)
    again = type(whole.module).load_from_checkpoint(end, weights_only=True)
    assert same_state(again.state_dict(), trained)


@pytest.mark.parametrize(("step", "workers"), [(1, 0), (4, 0), (5, 0), (7, 0), (7, 1), (10, 0)])
def test_a_run_killed_after_any_step_goes_on_as_if_nothing_had_happened(name, step, workers, whole, tmp_path):
    assert whole.steps == 15
    resumed, data = make(name, make_data(name, num_workers=workers), **noisy(name))
    trainer = make_trainer(tmp_path)
    trainer.fit(resumed, data, ckpt_path=whole.folder / f"step={step}.ckpt", weights_only=True)
    assert trainer.global_step == whole.steps
    assert same_state(resumed.state_dict(), whole.module.state_dict())


@pytest.mark.parametrize("step", [2, 5, 11])
def test_a_run_that_failed_in_the_middle_of_a_step_goes_on_as_if_nothing_had_happened(name, step, whole, tmp_path):
    failing, data = make(name, **noisy(name))
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    with pytest.raises(KeyError, match="middle of a step"):
        make_trainer(tmp_path, last, StopAt(step)).fit(failing, data)
    resumed, data = make(name, **noisy(name))
    make_trainer(tmp_path / "resumed").fit(resumed, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert same_state(resumed.state_dict(), whole.module.state_dict())


def test_every_metric_of_a_test_stands_beside_another_row(name, whole, tmp_path):
    data = make_data(name)
    (found,) = make_trainer(tmp_path, ema=False).test(whole.module, data, verbose=False)
    names = [metric.removeprefix("test/") for metric in found]
    losses = getattr(getattr(whole.module, "evaluation", None), "losses", ())
    assert without_twin(names, losses) == []
    assert sum("/" in metric for metric in names) >= 3


def test_the_number_of_workers_changes_nothing(name, whole, tmp_path):
    other, data = make(name, make_data(name, num_workers=1), **noisy(name))
    make_trainer(tmp_path).fit(other, data)
    assert same_state(other.state_dict(), whole.module.state_dict())


def test_resuming_without_the_average_goes_on_from_the_raw_weights(name, tmp_path):
    plain, data = make(name)
    make_trainer(tmp_path / "plain", ema=False).fit(plain, data)
    averaged, data = make(name)
    make_trainer(tmp_path, each_step(tmp_path)).fit(averaged, data)
    resumed, data = make(name)
    trainer = make_trainer(tmp_path / "resumed", ema=False)
    trainer.fit(resumed, data, ckpt_path=tmp_path / "step=6.ckpt", weights_only=True)
    assert same_state(resumed.state_dict(), plain.state_dict())


def test_a_changed_learning_rate_wins_over_the_restored_one(name, tmp_path):
    module, data = make(name, optimizer={"lr": 0.1})
    make_trainer(tmp_path, each_step(tmp_path)).fit(module, data)
    resumed, data = make(name, optimizer={"lr": 0.01})
    trainer = make_trainer(tmp_path / "resumed")
    trainer.fit(resumed, data, ckpt_path=tmp_path / "step=6.ckpt", weights_only=True)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01)


def test_muon_goes_on_after_a_kill_and_adamw_does_not_take_its_state(name, tmp_path):
    module, data = make(name, optimizer={"name": "muon"})
    if not module.automatic_optimization:  # its critics are no layers with matrices
        with pytest.raises(ValueError, match=r"optimizer\.name='adamw'"):
            make_trainer(tmp_path).fit(module, data)
        return
    make_trainer(tmp_path, each_step(tmp_path)).fit(module, data)
    resumed, data = make(name, optimizer={"name": "muon"})
    make_trainer(tmp_path / "resumed").fit(resumed, data, ckpt_path=tmp_path / "step=6.ckpt", weights_only=True)
    assert same_state(resumed.state_dict(), module.state_dict())
    other, data = make(name)
    make_trainer(tmp_path / "adamw").fit(other, data)
    assert not same_state(other.state_dict(), module.state_dict())
    with pytest.raises(CheckpointError, match=r"optimizer\.name is muon.*adamw"):
        make_trainer(tmp_path / "other").fit(other, data, ckpt_path=tmp_path / "step=6.ckpt", weights_only=True)


def test_another_architecture_is_refused_by_name(name, tmp_path):
    module, data = make(name)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    other, data = make(name, network={"hidden_size": 32})
    with pytest.raises(CheckpointError, match=r"hidden_size.*16.*32"):
        make_trainer(tmp_path).test(other, data, ckpt_path=tmp_path / "end.ckpt", weights_only=True, verbose=False)


def test_predicts_for_every_item_of_the_test_split(name, tmp_path):
    module, data = make(name)
    predicted = make_trainer(tmp_path).predict(module, data)
    assert sum(len(batch) for batch in predicted) == 6


def without_clocks(row):
    return {name: value for name, value in row.items() if "second" not in name}


def test_history_is_whole_after_a_resume(name, tmp_path):
    whole = callbacks.RunHistory(plots=False)
    module, data = make(name)
    make_trainer(tmp_path / "a", whole, each_step(tmp_path / "a")).fit(module, data)
    resumed_history = callbacks.RunHistory(plots=False)
    resumed, data = make(name)
    trainer = make_trainer(tmp_path / "b", resumed_history)
    trainer.fit(resumed, data, ckpt_path=tmp_path / "a" / "step=7.ckpt", weights_only=True)
    assert [row["epoch"] for row in resumed_history.rows] == [1, 2, 3]
    for one, other in zip(whole.rows[2:], resumed_history.rows[2:], strict=True):  # whole epochs after the resume
        assert repr(without_clocks(one)) == repr(without_clocks(other))  # repr: NaN equals NaN


def test_trains_in_mixed_precision_with_clipping(name, tmp_path):
    module, data = make(name)
    if not module.automatic_optimization:
        pytest.skip("steps by itself: the trainer clips nothing")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    make_trainer(tmp_path, precision="bf16-mixed", gradient_clip_val=1.0, max_steps=2).fit(module, data)
    after = module.state_dict()
    assert not same_state(before, after)
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
