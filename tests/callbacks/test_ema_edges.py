"""Where the plain course of a fit is left: unfreezing, another module, nothing to train, half precision."""

import pickle

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from callbacks import EMAWeights

from .bench import BATCHES, Alternating, Line, each_step, make_trainer, read, same
from .test_ema_laws import closed_form, fit, pytestmark  # noqa: F401


class Unfreeze(Callback):
    """Sets the frozen layer free at the start of an epoch, as fine-tuning does."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            pl_module.frozen.requires_grad_(True)

    on_train_start = on_train_epoch_start  # where a resume begins in mid-epoch


def test_a_parameter_set_free_on_the_way_joins_the_average(tmp_path):
    class All(Line):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.lr)

    module = All()
    frozen = module.frozen.weight.detach().clone()
    _, module, ema, _ = fit(tmp_path, Unfreeze(), each_step(tmp_path), module=module)
    assert "frozen.weight" in ema.average
    raw = [read(tmp_path / f"step={s}.ckpt")["current_model_state"]["frozen.weight"] for s in range(4, 9)]
    assert torch.equal(raw[0], frozen)
    assert not torch.equal(raw[1], frozen)
    average = raw[1].double()
    for update, weights in enumerate(raw[2:], start=BATCHES + 1):
        decay = min(0.5, (1 + update) / (10 + update))
        average = decay * average + (1 - decay) * weights.double()
    torch.testing.assert_close(module.frozen.weight.double(), average, rtol=1e-5, atol=1e-6)


def test_a_resume_knows_which_parameters_had_been_set_free(tmp_path):
    class All(Line):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.lr)

    whole = fit(tmp_path, Unfreeze(), each_step(tmp_path), module=All())[1]
    again = All()
    again.frozen.requires_grad_(False)
    fit(tmp_path, Unfreeze(), module=again, ckpt_path=tmp_path / "step=6.ckpt")
    assert same(again.state_dict(), whole.state_dict())


def test_a_parameter_frozen_on_the_way_is_restored_after_validation(tmp_path):
    class Freeze(Callback):
        def on_validation_start(self, trainer, pl_module):
            pl_module.line.bias.requires_grad_(False)

    trainer, *_ = fit(tmp_path, Freeze(), each_step(tmp_path), limit_val_batches=1)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    frozen = read(tmp_path / f"step={BATCHES}.ckpt")["current_model_state"]["line.bias"]
    assert torch.equal(read(tmp_path / "end.ckpt")["current_model_state"]["line.bias"], frozen)


def test_alternating_optimisers_that_toggle_gradients(tmp_path):
    class Toggling(Alternating):
        def training_step(self, batch, batch_idx):
            for optimizer in self.optimizers():
                self.toggle_optimizer(optimizer)
                self.manual_backward(self.loss(batch, "train"))
                optimizer.step()
                optimizer.zero_grad()
                self.untoggle_optimizer(optimizer)

    _, module, _, raw = fit(tmp_path, module=Toggling())
    torch.testing.assert_close(module.line.weight.double(), closed_form(raw, 0.5, True), rtol=1e-5, atol=1e-6)


def test_another_module_begins_an_average_of_its_own(tmp_path):
    ema = EMAWeights(0.5)
    fit(tmp_path, ema=ema)
    _, module, _, raw = fit(tmp_path, ema=ema)
    torch.testing.assert_close(module.line.weight.double(), closed_form(raw, 0.5, True), rtol=1e-5, atol=1e-6)
    assert torch.equal(raw[0], Line().line.weight)
    assert ema.updates == 2 * BATCHES


def test_a_resume_with_nothing_left_to_train_judges_the_average(tmp_path):
    trainer, module, *_ = fit(tmp_path)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again = Line()
    trainer = make_trainer(tmp_path, EMAWeights(0.5))
    trainer.fit(again, ckpt_path=tmp_path / "end.ckpt")
    trainer.test(again, verbose=False)
    assert torch.equal(again.seen["test"][0], module.line.weight)


def test_a_test_of_another_checkpoint_leaves_the_counters(tmp_path):
    trainer, module, ema, _ = fit(tmp_path, each_step(tmp_path), module=Line())
    trainer.test(module, ckpt_path=tmp_path / "step=2.ckpt", verbose=False)
    assert ema.updates == 2 * BATCHES


def test_half_precision_weights_are_averaged_in_single(tmp_path):
    class Slow(Line):
        def __init__(self):
            super().__init__(lr=1e-2)

    _, module, ema, raw = fit(tmp_path, ema=EMAWeights(0.99), module=Slow(), precision="bf16-true", max_epochs=20)
    expected = closed_form(raw, 0.99, True)
    torch.testing.assert_close(ema.average["line.weight"].double(), expected, rtol=1e-4, atol=1e-4)
    assert module.line.weight.dtype == torch.bfloat16


def test_a_copy_for_another_process_has_the_average_and_no_trainer(tmp_path):
    ema = fit(tmp_path)[2]
    copy = pickle.loads(pickle.dumps(ema))  # noqa: S301
    assert same(copy.average, ema.average)
    assert copy.updates == ema.updates


def test_half_precision_resume_is_exact(tmp_path):
    _, _, whole, _ = fit(tmp_path, each_step(tmp_path), ema=EMAWeights(0.9), precision="bf16-true")
    ema = EMAWeights(0.9)
    trainer = make_trainer(tmp_path, ema, precision="bf16-true")
    trainer.fit(Line(), ckpt_path=tmp_path / "step=3.ckpt")
    assert torch.equal(ema.average["line.weight"], whole.average["line.weight"])


def test_weights_only_checkpoints_are_named_as_raw(tmp_path):
    light = ModelCheckpoint(tmp_path, save_weights_only=True)
    with pytest.warns(UserWarning, match="save_weights_only"):
        fit(tmp_path, light)
