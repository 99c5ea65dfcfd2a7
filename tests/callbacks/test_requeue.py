"""SLURM's warning: a checkpoint between two steps, one request to requeue, and a run that ends as ever."""

import os
import signal

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

import callbacks
from tests.conformance.cases import make, make_trainer, noisy, same_state

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
]
NAME = "MDLMDiT"  # 5 batches an epoch


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A job, and a scontrol that writes down what it is asked."""
    asked = tmp_path / "asked"
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "812")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    return lambda: asked.read_text().splitlines() if asked.exists() else []


class SignalIn(Callback):
    """Sends a signal to this process in the middle of a batch."""

    def __init__(self, step, number=signal.SIGUSR1, hook="on_before_zero_grad"):
        self.step, self.number = step, number
        setattr(self, hook, self.send)

    def send(self, trainer, *args):
        if trainer.fit_loop.total_batch_idx + 1 == self.step:
            signal.raise_signal(self.number)


def last(folder):
    return ModelCheckpoint(folder, filename="last", save_on_exception=True, enable_version_counter=False)


def fit(name, folder, *extra, ckpt_path=None, **settings):
    history = callbacks.RunHistory(plots=False)
    module, data = make(name, **noisy(name))
    parts = [history, *extra, last(folder), callbacks.Requeue()]
    trainer = make_trainer(folder, *parts, **settings)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module, [{key: row[key] for key in sorted(row) if "second" not in key} for row in history.rows]


def interrupted(name, folder, step, number=signal.SIGUSR1, **settings):
    with pytest.raises(SIGTERMException):
        fit(name, folder, SignalIn(step, number, **settings.pop("at", {})), **settings)
    return torch.load(folder / "last.ckpt", weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]


def same(one, other):
    return same_state(one[0].state_dict(), other[0].state_dict()) and repr(one[1]) == repr(other[1])


@pytest.mark.parametrize("name", [NAME, "PPOLagrangian"])  # Lightning optimises, the module does
def test_a_warned_run_saves_after_the_batch_is_requeued_and_ends_as_ever(name, tmp_path, scontrol):
    hook = "on_before_zero_grad" if name == NAME else "on_train_batch_start"
    whole = fit(name, tmp_path / "whole")
    progress = interrupted(name, tmp_path / "parts", 7, at={"hook": hook})
    assert progress["total"]["processed"] == 7  # the batch in which the signal came, not one more
    assert scontrol() == ["requeue 812"]
    again = fit(name, tmp_path / "parts", ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert same(again, whole)


@pytest.mark.parametrize(
    ("step", "settings", "left_after"),
    [
        (5, {}, 5),  # the epoch ends: after its validation
        (1, {"accumulate_grad_batches": 2}, 2),  # gradients are half accumulated
        (2, {"val_check_interval": 2}, 3),  # a validation follows
        (15, {}, 15),
        (12, {"max_steps": 12, "max_epochs": None}, 12),
    ],
)
def test_it_waits_for_a_moment_at_which_nothing_is_lost(step, settings, left_after, tmp_path, scontrol):
    whole = fit(NAME, tmp_path / "whole", **settings)
    progress = interrupted(NAME, tmp_path / "parts", step, **settings)
    assert progress["total"]["processed"] == left_after
    assert same(fit(NAME, tmp_path / "parts", ckpt_path=tmp_path / "parts" / "last.ckpt", **settings), whole)


def test_sigterm_saves_and_asks_for_nothing(tmp_path, scontrol):
    assert interrupted(NAME, tmp_path, 7, signal.SIGTERM)["total"]["processed"] == 7
    assert scontrol() == []


def test_a_process_that_was_not_told_leaves_with_the_one_that_was(tmp_path, scontrol, monkeypatch):
    batches = []

    def reduce(self, told, *args, **kwargs):
        if kwargs.get("reduce_op") != "max":  # something logged
            return told
        batches.append(int(told))
        return told + 2 * (len(batches) == 3)  # another process was warned during the third batch

    monkeypatch.setattr(SingleDeviceStrategy, "reduce", reduce)
    with pytest.raises(SIGTERMException, match="SIGUSR1 at step 3"):
        fit(NAME, tmp_path)
    assert batches == [0, 0, 0]
    assert scontrol() == ["requeue 812"]


def test_the_task_of_an_array_is_requeued_not_the_array(tmp_path, scontrol, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "812")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    interrupted(NAME, tmp_path, 2)
    assert scontrol() == ["requeue 812_3"]


def test_without_a_cluster_it_saves_and_stops(tmp_path, scontrol, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID")
    assert interrupted(NAME, tmp_path, 2)["total"]["processed"] == 2
    assert scontrol() == []


def test_a_cluster_that_refuses_is_quoted(tmp_path, scontrol):
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho slurm_requeue error: Invalid job id >&2; exit 1\n")
    with pytest.warns(UserWarning, match=r"812 was saved but not requeued \(.*Invalid job id\).*--ckpt_path last"):
        interrupted(NAME, tmp_path, 2)


def test_a_warning_during_the_test_requeues_at_once(tmp_path, scontrol):
    module, data = make(NAME)
    trainer = make_trainer(tmp_path, callbacks.Requeue(), ema=False)

    class Warned(Callback):
        def on_test_start(self, trainer, pl_module):
            signal.raise_signal(signal.SIGUSR1)

    trainer.callbacks.insert(0, Warned())
    with pytest.raises(SIGTERMException):
        trainer.test(module, data, verbose=False)
    assert scontrol() == ["requeue 812"]


@pytest.mark.parametrize("order", [[], ["requeue", "last"]])
def test_something_must_save_before_it(order, tmp_path):
    parts = {"requeue": callbacks.Requeue(), "last": last(tmp_path)}
    trainer = make_trainer(tmp_path, *[parts[name] for name in order or ["requeue"]])
    with pytest.raises(MisconfigurationException, match=r"save_on_exception: true listed before"):
        trainer.fit(*make(NAME))
