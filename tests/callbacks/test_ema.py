import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks import EMAWeights

from .modules import TwoOptimizers, Walk, batches, trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode"),
]


class Trace(Callback):
    """The raw weights after each batch."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.weights.append(pl_module.net.weight.detach().clone())


def closed_form(weights, decay_at, start):
    average = start.clone()
    for update, weight in enumerate(weights):
        decay = decay_at(update)
        average = decay * average + (1 - decay) * weight
    return average


@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_is_its_closed_form(warmup, tmp_path):
    ema, trace, module = EMAWeights(decay=0.6, warmup=warmup), Trace(), Walk()
    start = module.net.weight.detach().clone()
    trainer(tmp_path, trace, ema).fit(module, batches())
    expected = closed_form(trace.weights, ema.decay_at, start)
    torch.testing.assert_close(module.net.weight.detach(), expected)
    assert ema.decay_at(0) == (0.1 if warmup else 0.0)
    assert ema.decay_at(10_000) == 0.6


def test_validation_test_and_predict_judge_the_average_in_the_same_trainer_and_training_goes_on_raw(tmp_path):
    plain, averaged, trace = Walk(), Walk(), Trace()
    trainer(tmp_path, trace).fit(plain, batches())
    ema, traced = EMAWeights(decay=0.9), Trace()
    checkpoint = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss", mode="max")
    run = trainer(tmp_path, traced, ema, checkpoint, enable_checkpointing=True, num_sanity_val_steps=0)
    run.fit(averaged, batches(), batches(1))
    for one, other in zip(trace.weights, traced.weights, strict=True):
        assert torch.equal(one, other)  # the average never touches the path of the raw weights
    start = Walk().net.weight.detach()
    for epoch in range(3):
        expected = closed_form(trace.weights[: 4 * (epoch + 1)], ema.decay_at, start)
        for seen in averaged.seen[2 * epoch : 2 * epoch + 2]:  # in the step, and in the module's own epoch end
            torch.testing.assert_close(seen, expected)
    for judge in (run.test, run.predict, run.validate):
        for ckpt_path in (None, checkpoint.best_model_path):
            averaged.seen.clear()
            options = {} if judge == run.predict else {"verbose": False}
            judge(averaged, batches(1), ckpt_path=ckpt_path, weights_only=True, **options)
            torch.testing.assert_close(averaged.seen[0], expected)


@pytest.mark.parametrize("callbacks", [[], [EMAWeights(decay=0.9)]])
def test_a_new_trainer_judges_the_average_too(callbacks, tmp_path):
    module = Walk()
    run = trainer(tmp_path, EMAWeights(decay=0.9))
    run.fit(module, batches())
    run.save_checkpoint(tmp_path / "end.ckpt")
    fresh = Walk()
    trainer(tmp_path, *callbacks).test(
        fresh, batches(1), ckpt_path=tmp_path / "end.ckpt", weights_only=True, verbose=False
    )
    assert torch.equal(fresh.seen[0], module.net.weight.detach())


def test_a_checkpoint_holds_raw_and_averaged_weights(tmp_path):
    ema, trace, module = EMAWeights(decay=0.9), Trace(), Walk()
    run = trainer(tmp_path, trace, ema)
    run.fit(module, batches())
    run.save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert torch.equal(saved["current_model_state"]["net.weight"], trace.weights[-1])
    assert torch.equal(saved["state_dict"]["net.weight"], module.net.weight.detach())
    assert saved["state_dict"].keys() == saved["current_model_state"].keys() == module.state_dict().keys()


def test_only_trainable_parameters_are_averaged(tmp_path):
    ema, module = EMAWeights(decay=0.9), Walk()
    trainer(tmp_path, ema).fit(module, batches())
    assert set(ema.average) == {"net.weight", "net.bias", "norm.weight", "norm.bias"}
    assert set(ema.raw) == set(ema.average)


def test_manual_optimisation_with_two_optimisers_updates_every_second_batch(tmp_path):
    ema, trace, module = EMAWeights(decay=0.5, warmup=False, update_every_n_steps=2), Trace(), TwoOptimizers()
    run = trainer(tmp_path, trace, ema)
    run.fit(module, batches())
    assert run.global_step == 24
    assert ema.updates == 6
    torch.testing.assert_close(
        module.net.weight.detach(), closed_form(trace.weights[1::2], ema.decay_at, Walk().net.weight.detach())
    )


def test_gradient_accumulation_counts_steps_not_batches(tmp_path):
    ema = EMAWeights()
    trainer(tmp_path, ema, accumulate_grad_batches=2).fit(Walk(), batches())
    assert ema.updates == 6


def test_a_late_start_follows_the_raw_weights_until_then(tmp_path):
    ema, trace, module = EMAWeights(decay=0.9, warmup=False, update_starting_at_step=8), Trace(), Walk()
    trainer(tmp_path, trace, ema).fit(module, batches())
    assert ema.updates == 4
    torch.testing.assert_close(
        module.net.weight.detach(), closed_form(trace.weights[8:], lambda n: 0.9 if n else 0.0, trace.weights[7])
    )


@pytest.mark.parametrize("step", [4, 8])
def test_resume_is_bit_exact(step, tmp_path):  # in the middle of an epoch: tests/conformance
    def each(folder):
        return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)

    whole, ema = Walk(), EMAWeights(decay=0.9)
    trainer(tmp_path, ema, each(tmp_path), enable_checkpointing=True).fit(whole, batches(4))
    first = torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
    again = EMAWeights(decay=0.9)
    resumed = Walk()
    run = trainer(tmp_path, again)
    run.fit(resumed, batches(4), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
    assert again.updates == ema.updates
    assert torch.equal(resumed.net.weight, whole.net.weight)
    assert torch.equal(again.raw["net.weight"], ema.raw["net.weight"])
    assert not torch.equal(first["state_dict"]["net.weight"], whole.net.weight)


def test_a_second_fit_continues_from_the_raw_weights(tmp_path):
    ema, trace, module = EMAWeights(decay=0.9), Trace(), Walk()
    run = trainer(tmp_path, trace, ema)
    run.fit(module, batches())
    raw = trace.weights[-1]
    run.fit_loop.max_epochs = 4
    before = []
    run.callbacks.append(Before(before))
    run.fit(module, batches())
    assert torch.equal(before[0], raw)


class Before(Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_train_batch_start(self, trainer, pl_module, *args):
        self.seen.append(pl_module.net.weight.detach().clone())


def test_an_exception_in_validation_leaves_the_weights_where_they_belong(tmp_path):
    class Failing(Walk):
        def validation_step(self, batch, batch_idx):
            raise KeyError("in validation")

    ema, trace, module = EMAWeights(decay=0.9), Trace(), Failing()
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True)
    run = trainer(tmp_path, trace, ema, last, enable_checkpointing=True, num_sanity_val_steps=0)
    with pytest.raises(KeyError, match="in validation"):
        run.fit(module, batches(), batches(1))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(saved["current_model_state"]["net.weight"], trace.weights[-1])
    expected = closed_form(trace.weights, ema.decay_at, Walk().net.weight.detach())
    torch.testing.assert_close(saved["state_dict"]["net.weight"], expected)
    assert torch.equal(module.net.weight, trace.weights[-1])


def test_a_checkpoint_without_average_begins_one_from_its_weights(tmp_path):
    plain = Walk()
    run = trainer(tmp_path, max_epochs=1)
    run.fit(plain, batches())
    run.save_checkpoint(tmp_path / "plain.ckpt")
    ema, trace, module = EMAWeights(decay=0.9), Trace(), Walk()
    trainer(tmp_path, trace, ema, max_epochs=2).fit(
        module, batches(), ckpt_path=tmp_path / "plain.ckpt", weights_only=True
    )
    expected = closed_form(trace.weights, ema.decay_at, plain.net.weight.detach())
    torch.testing.assert_close(module.net.weight.detach(), expected)


@pytest.mark.parametrize(("settings", "message"), [({"decay": 1.0}, "decay=1.0"), ({"update_every_n_steps": 0}, "=0")])
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        EMAWeights(**settings)
