"""What is logged quickly is what Lightning would have logged."""

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader

from lit_models.core.quick_log import QuickLog
from tests.conformance.cases import make_trainer

STEPS, EPOCHS = 5, 3
pytestmark = pytest.mark.filterwarnings("ignore:You called `self.log.*floating:UserWarning")


class Logs(LightningModule):
    """Logs scalars of every kind."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def training_step(self, batch, batch_idx):
        seed = self.current_epoch * STEPS + batch_idx
        number = torch.rand((), generator=torch.Generator().manual_seed(seed))
        rows = 1 + batch_idx  # a mean that weighs
        self.log("both", number * self.weight[0], on_step=True, on_epoch=True, batch_size=rows)
        self.log("mean", number, on_step=False, on_epoch=True, prog_bar=True, batch_size=rows)
        self.log("double", number.double() / 3, on_step=False, on_epoch=True, batch_size=rows)
        self.log("half", number.bfloat16(), on_step=False, on_epoch=True, batch_size=rows)
        self.log("sum", number, on_step=False, on_epoch=True, reduce_fx="sum", batch_size=rows)
        self.log("largest", number, on_step=False, on_epoch=True, reduce_fx="max", batch_size=rows)
        self.log("float", float(number), batch_size=rows)
        self.log("whole", seed, batch_size=rows)
        self.log("row", number.view(1), batch_size=rows)
        self.log("unweighed", number, on_step=False, on_epoch=True)
        if batch_idx == 2:
            self.log("rare", number, on_epoch=True, batch_size=rows)
        return self.weight.sum() * number

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Quick(QuickLog, Logs):
    """The same, quickly."""


class Seen(Callback):
    """What callbacks and loggers are told after every batch and epoch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, *args):
        self.seen.append({name: value.clone() for name, value in trainer.callback_metrics.items()})

    on_train_epoch_end = on_train_batch_end


def seen(module, folder):
    told = Seen()
    make_trainer(folder, told, ema=False, max_epochs=EPOCHS).fit(module, DataLoader(torch.zeros(STEPS, 2)))
    return told.seen


def test_every_scalar_is_the_same_to_the_last_bit_at_every_step_and_epoch(tmp_path):
    ours, theirs = seen(Quick(), tmp_path / "ours"), seen(Logs(), tmp_path / "theirs")
    assert len(ours) == EPOCHS * (STEPS + 1)
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    assert {"both_step", "both_epoch", "mean", "largest", "float", "rare"} <= ours[-1].keys()
    for one, other in zip(ours, theirs, strict=True):
        assert all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in other)


def test_most_calls_do_not_reach_lightning(tmp_path, monkeypatch):
    reached, log = [], LightningModule.log
    monkeypatch.setattr(
        LightningModule, "log", lambda self, name, *a, **k: (reached.append(name), log(self, name, *a, **k))
    )
    seen(Quick(), tmp_path)
    often = {name: reached.count(name) for name in set(reached)}
    quick = dict.fromkeys(("both", "mean", "double", "half", "sum", "largest", "float", "rare"), EPOCHS)
    assert often == quick | dict.fromkeys(("whole", "row", "unweighed"), EPOCHS * STEPS)


def test_other_options_under_the_same_name_are_refused_as_lightning_refuses_them(tmp_path):
    class Changing(Quick):
        def training_step(self, batch, batch_idx):
            self.log("twice", torch.tensor(1.0), on_epoch=batch_idx == 1, on_step=True, batch_size=1)
            return super().training_step(batch, batch_idx)

    with pytest.raises(Exception, match=r"twice.*different arguments"):
        seen(Changing(), tmp_path)
