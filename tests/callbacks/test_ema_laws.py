import logging

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.distributed.tensor import distribute_tensor, init_device_mesh

from callbacks import EMAWeights

from .bench import BATCHES, Alternating, Line, RawWeights, StopIn, each_step, make_trainer, read, same

NAMES = {"line.weight", "line.bias"}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),  # ModelCheckpoint
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),  # each batch is the same
]


def closed_form(raw, decay, warmup, every=1, start=0):
    """The average after all of ``raw`` (initial weights first), by the definition, in float64."""
    average, updates = raw[0].double(), 0
    for step, weights in enumerate(raw[1:], start=1):
        if step <= start:
            average = weights.double()
        elif step % every == 0:
            ramp = (1 + updates) / (10 + updates) if warmup else float(updates > 0)
            factor = min(decay, ramp)
            average = factor * average + (1 - factor) * weights.double()
            updates += 1
    return average


def fit(folder, *callbacks, ema=None, module=None, ckpt_path=None, **changes):
    ema, module, raw = ema or EMAWeights(decay=0.5), module or Line(), RawWeights()
    trainer = make_trainer(folder, ema, raw, *callbacks, **changes)
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer, module, ema, raw.history


@pytest.mark.parametrize(
    ("decay", "warmup", "every", "start"),
    [(0.9, False, 1, None), (0.9, True, 1, None), (0.3, True, 1, None), (0.9, True, 3, None), (0.9, True, 2, 3)],
)
def test_average_is_the_closed_form(tmp_path, decay, warmup, every, start):
    ema = EMAWeights(decay, warmup, update_every_n_steps=every, update_starting_at_step=start)
    _, module, _, raw = fit(tmp_path, ema=ema)
    expected = closed_form(raw, decay, warmup, every, start or 0)
    torch.testing.assert_close(module.line.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(module.line.weight, raw[-1])


@pytest.mark.parametrize(
    "wrong", [{"decay": 1.0}, {"decay": -0.1}, {"update_every_n_steps": 0}, {"update_every_n_steps": -2}]
)
def test_arguments_out_of_range_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        EMAWeights(**wrong)


# ---------------------------------------------------------------------- what is averaged
def test_only_trainable_parameters_are_kept_and_written(tmp_path):
    module = Line()
    written = [parameter._version for parameter in module.frozen.parameters()]
    ema = fit(tmp_path, module=module)[2]
    assert ema.average.keys() == NAMES
    assert ema.raw is not None
    assert ema.raw.keys() == NAMES
    assert [parameter._version for parameter in module.frozen.parameters()] == written


def test_checkpoint_is_complete_and_buffers_are_the_models(tmp_path):
    trainer, module, _, _ = fit(tmp_path)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    checkpoint = read(tmp_path / "end.ckpt")
    state = module.state_dict()
    assert int(state["norm.num_batches_tracked"]) == 2 * BATCHES
    for key in ("state_dict", "current_model_state"):
        assert checkpoint[key].keys() == state.keys()
        for name in state.keys() - NAMES:
            assert torch.equal(checkpoint[key][name], state[name])


def test_tied_weights_stay_tied(tmp_path):
    class Tied(Line):
        def __init__(self):
            super().__init__()
            self.twin = self.line

    trainer, module, ema, raw = fit(tmp_path, module=Tied())
    assert torch.equal(ema.average["line.weight"], ema.average["twin.weight"])
    torch.testing.assert_close(module.line.weight.double(), closed_form(raw, 0.5, True), rtol=1e-5, atol=1e-6)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    assert same(read(tmp_path / "end.ckpt")["state_dict"], module.state_dict())


# ---------------------------------------------------------------------- where it is used
def test_validation_sees_the_average_and_training_goes_on_from_the_raw_weights(tmp_path):
    _, judged, _, raw = fit(tmp_path, num_sanity_val_steps=1, val_check_interval=2)
    blind, blindly = fit(tmp_path, limit_val_batches=0)[1::2]
    assert all(torch.equal(one, other) for one, other in zip(raw, blindly, strict=True))
    assert torch.equal(judged.line.weight, blind.line.weight)
    first, *later = judged.seen["val"]
    assert torch.equal(first, raw[0])  # the sanity check: nothing is averaged yet
    for index, seen in enumerate(later, start=1):
        expected = closed_form(raw[: 2 * index + 1], 0.5, True)
        torch.testing.assert_close(seen.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_modules_own_validation_hooks_see_the_average(tmp_path):
    class Watching(Line):
        def on_validation_start(self):
            self.seen.setdefault("start", []).append(self.line.weight.detach().clone())

        def on_validation_epoch_end(self):
            self.seen.setdefault("end", []).append(self.line.weight.detach().clone())

    module = fit(tmp_path, module=Watching())[1]
    for hook in ("start", "end"):
        assert all(torch.equal(a, b) for a, b in zip(module.seen[hook], module.seen["val"], strict=True))


def judge(trainer, module, **where):
    """The weights that validate, test and predict see, one tensor if they agree."""
    module.seen = {}
    trainer.validate(module, verbose=False, **where)
    trainer.test(module, verbose=False, **where)
    trainer.predict(module, **where)
    seen = [weights for stage in ("val", "test", "predict") for weights in module.seen[stage]]
    assert len(seen) == 3
    assert all(torch.equal(weights, seen[0]) for weights in seen)
    return seen[0]


@pytest.fixture
def fitted(tmp_path):
    best = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss", save_last=True)
    trainer, module, _, raw = fit(tmp_path, best)
    assert best.best_model_path.endswith("best.ckpt")
    return trainer, module, raw


@pytest.mark.parametrize("where", [None, "best", "last", "PATH"])
def test_the_same_trainer_judges_the_average(tmp_path, fitted, where):
    trainer, module, raw = fitted
    average = closed_form(raw, 0.5, True)
    seen = judge(trainer, module, ckpt_path=str(tmp_path / "last.ckpt") if where == "PATH" else where)
    torch.testing.assert_close(seen.double(), average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("callbacks", [(), (EMAWeights,)], ids=["without", "with"])
def test_a_new_trainer_judges_the_average(tmp_path, fitted, callbacks):
    _, module, _ = fitted
    new, weights = Line(lr=0.1), module.line.weight
    trainer = make_trainer(tmp_path, *(make(0.5) for make in callbacks))
    assert torch.equal(judge(trainer, new, ckpt_path=tmp_path / "last.ckpt"), weights)


def test_a_module_that_was_only_judged_is_saved_as_it_is(tmp_path, fitted):
    trainer, module, _ = fitted
    other = {name: value + 1 for name, value in module.state_dict().items()}
    checkpoint = read(tmp_path / "last.ckpt") | {"state_dict": other}
    torch.save(checkpoint, tmp_path / "other.ckpt")
    trainer.test(module, ckpt_path=tmp_path / "other.ckpt", verbose=False)
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    assert same(read(tmp_path / "again.ckpt")["state_dict"], other)


def test_a_second_fit_goes_on_from_the_raw_weights(tmp_path):
    trainer, module, *_ = fit(tmp_path, module=Alternating())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module)
    whole, *_, straight = fit(tmp_path, module=Alternating(), max_epochs=3)
    recorded = next(callback for callback in trainer.callbacks if isinstance(callback, RawWeights)).history
    assert len(recorded) == len(straight)
    assert torch.equal(recorded[-1], straight[-1])
    assert torch.equal(module.line.weight, whole.lightning_module.line.weight)


# ---------------------------------------------------------------------- when it is updated
@pytest.mark.parametrize(("every", "n"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_manual_optimisation_counts_batches_that_stepped(tmp_path, every, n):
    ema = EMAWeights(0.5, update_every_n_steps=n)
    trainer, module, _, raw = fit(tmp_path, ema=ema, module=Alternating(every))
    stepped = raw[::every]
    assert trainer.global_step == 2 * (len(stepped) - 1)
    assert ema.updates == (len(stepped) - 1) // n
    expected = closed_form(stepped, 0.5, True, every=n)
    torch.testing.assert_close(module.line.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_accumulated_batches_count_once(tmp_path):
    _, module, ema, raw = fit(tmp_path, accumulate_grad_batches=2)
    assert ema.updates == BATCHES
    torch.testing.assert_close(module.line.weight.double(), closed_form(raw[::2], 0.5, True), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- checkpoints
@pytest.fixture
def whole(tmp_path):
    """An uninterrupted run with a checkpoint after each step."""
    folder = tmp_path / "whole"
    trainer, module, _, raw = fit(folder, each_step(folder), ema=EMAWeights(0.9, update_every_n_steps=2))
    trainer.save_checkpoint(folder / "end.ckpt")
    return folder, module, raw


@pytest.mark.parametrize("step", range(1, 2 * BATCHES))
def test_resume_is_exact_at_every_step(tmp_path, whole, step):
    folder, module, raw = whole
    checkpoint = read(folder / f"step={step}.ckpt")
    assert torch.equal(checkpoint["current_model_state"]["line.weight"], raw[step])
    expected = closed_form(raw[: step + 1], 0.9, True, every=2)
    torch.testing.assert_close(checkpoint["state_dict"]["line.weight"].double(), expected, rtol=1e-5, atol=1e-6)

    again, ema = Line(), EMAWeights(0.9, update_every_n_steps=2)
    trainer = make_trainer(tmp_path, ema)
    trainer.fit(again, ckpt_path=folder / f"step={step}.ckpt", weights_only=True)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    assert same(again.state_dict(), module.state_dict())
    one, other = read(tmp_path / "end.ckpt"), read(folder / "end.ckpt")
    for key in ("state_dict", "current_model_state"):
        assert same(one[key], other[key])
    assert (ema.updates, ema.steps) == (BATCHES, 2 * BATCHES)


def test_resume_with_accumulated_batches_is_exact(tmp_path):
    module = fit(tmp_path, each_step(tmp_path), accumulate_grad_batches=2)[1]
    again = Line()
    fit(tmp_path, module=again, accumulate_grad_batches=2, ckpt_path=tmp_path / "step=1.ckpt")
    assert same(again.state_dict(), module.state_dict())


def test_resume_from_a_checkpoint_without_an_average_begins_with_its_weights(tmp_path, caplog):
    plain = make_trainer(tmp_path, each_step(tmp_path), max_epochs=1)
    plain.fit(Line())
    weights = read(tmp_path / "step=4.ckpt")["state_dict"]["line.weight"]
    ema, raw, module = EMAWeights(0.5), RawWeights(), Line()
    trainer = make_trainer(tmp_path, ema, raw)
    with caplog.at_level(logging.INFO):
        trainer.fit(module, ckpt_path=tmp_path / "step=4.ckpt")
    assert "holds no average" in caplog.text
    assert torch.equal(raw.history[0], weights)
    assert ema.updates == BATCHES
    torch.testing.assert_close(module.line.weight.double(), closed_form(raw.history, 0.5, True), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- stopped in the middle
@pytest.mark.parametrize("last_word", [False, True], ids=["saved before", "saved after"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize(
    ("hook", "steps"),
    [("on_validation_batch_end", 8), ("on_validation_epoch_end", 8), ("on_train_batch_start", 4), ("sanity", 0)],
)
def test_a_stopped_run_exchanges_nothing(tmp_path, hook, steps, error, last_word):
    class Saver(Callback):
        def on_exception(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / "exception.ckpt")

    sanity = hook == "sanity"
    stop = StopIn("on_validation_batch_end" if sanity else hook, error, epoch=0 if sanity else 1)
    ema, raw, module = EMAWeights(0.5), RawWeights(), Line()
    order = [ema, raw, stop, Saver()] if last_word else [Saver(), ema, raw, stop]
    trainer = make_trainer(tmp_path, *order, num_sanity_val_steps=int(sanity))
    initial = module.line.weight.detach().clone()
    with pytest.raises((RuntimeError, KeyboardInterrupt, SystemExit)):
        trainer.fit(module)
    history = raw.history or [initial]
    assert len(history) == steps + 1
    checkpoint = read(tmp_path / "exception.ckpt")
    assert torch.equal(checkpoint["current_model_state"]["line.weight"], history[-1])
    expected = closed_form(history, 0.5, True)
    torch.testing.assert_close(checkpoint["state_dict"]["line.weight"].double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(module.line.weight, history[-1])


# ---------------------------------------------------------------------- several processes
class SameEverywhere(Callback):
    def on_train_end(self, trainer, pl_module):
        (ema,) = (callback for callback in trainer.callbacks if isinstance(callback, EMAWeights))
        gathered = [torch.empty(1, 2), torch.empty(1, 2)]
        torch.distributed.all_gather(gathered, ema.average["line.weight"])
        assert torch.equal(*gathered)
        assert not torch.equal(ema.average["line.weight"], ema.raw["line.weight"])


def test_two_processes_hold_the_same_average(tmp_path):
    class Shared(Line):
        def validation_step(self, batch, batch_idx):
            self.loss(batch, "val")

        def training_step(self, batch, batch_idx):
            x, y = batch
            return self.loss((x + self.global_rank, y), "train")  # each rank has data of its own

    fit(tmp_path, SameEverywhere(), module=Shared(), strategy="ddp_fork", devices=2, max_epochs=1)


@pytest.fixture
def process_group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_the_average_of_sharded_parameters_is_sharded_alike_and_saved_whole(process_group):
    module = Line()
    mesh = init_device_mesh("cpu", (1,))
    first = module.line.weight.detach().clone()
    module.line.weight = torch.nn.Parameter(distribute_tensor(first.clone(), mesh))
    ema = EMAWeights(decay=0.5, warmup=False)
    ema._update(module, ema.decay_at(0))
    with torch.no_grad():
        module.line.weight.add_(2.0)
    ema._update(module, ema.decay_at(1))
    assert ema.average["line.weight"].placements == module.line.weight.placements
    checkpoint = {"state_dict": {name: value.clone() for name, value in Line().state_dict().items()}}
    ema.on_save_checkpoint(None, module, checkpoint)
    saved = checkpoint["state_dict"]["line.weight"]
    assert type(saved) is torch.Tensor
    torch.testing.assert_close(saved, first + 1.0)
