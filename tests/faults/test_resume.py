"""A run goes on at any moment and with any change: what it trains on is what the uninterrupted run would have seen."""

from itertools import product

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.core import SplitDataModule
from lit_models.core.module import BaseModule

EPOCHS, LENGTH, BATCH = 4, 5, 4
ROWS = LENGTH * BATCH
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_training_batches|.*overfit|.*exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create"),
    pytest.mark.filterwarnings("ignore:You requested to overfit but enabled"),
]


class Numbers:
    """Rows that are their own numbers."""

    def __len__(self):
        return ROWS

    def __getitems__(self, draws):
        return torch.tensor([[item, variant % 97] for item, variant in draws], dtype=torch.float32)


class NumbersData(SplitDataModule):
    """Shows them in the order of an epoch."""

    def split(self, name):
        return Numbers()


class Sum(BaseModule):
    """One weight, moved by each batch; remembers which batches it saw, and where it was validated."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.net = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(self.net.weight, 0.1)
        torch.nn.init.zeros_(self.net.bias)
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.trainer.current_epoch, batch_idx, tuple(batch[:, 0].int().tolist())))
        loss = self.net(batch / 100).square().mean()
        self.log_means({"train/loss": loss}, len(batch))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.net(batch / 100).square().mean(), batch_size=len(batch))

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.validated.append((self.trainer.current_epoch, self.global_step))


class Stop(Callback):
    """Fails before a batch steps."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.left -= 1
        if self.left < 0:
            raise KeyError("in a step")


def train(folder, ckpt=None, stop=None, data=None, **settings):
    last = ModelCheckpoint(
        folder, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, save_on_exception=True,
        enable_version_counter=False,
    )  # fmt: skip
    callbacks = [last] if stop is None else [Stop(stop), last]
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    options = {"accelerator": "cpu", "max_epochs": EPOCHS, "num_sanity_val_steps": 0} | quiet | settings
    torch.manual_seed(0)
    module, numbers = (
        Sum(optimizer={"lr": 0.1}),
        NumbersData(**{"batch_size": BATCH, "eval_batch_size": ROWS} | (data or {})),
    )
    trainer = Trainer(callbacks=callbacks, **options)
    try:
        trainer.fit(module, numbers, ckpt_path=ckpt, weights_only=True)
    except KeyError:
        assert stop is not None
    return module, folder / "last.ckpt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = {}

    def of(**settings):
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = train(tmp_path_factory.mktemp("whole"), **settings)[0]
        return made[key]

    return of


def require_whole(parts, one):
    """The batches of the parts, one after another, those that were done twice once, are those of one run."""
    found = {}
    for part in parts:
        found |= {(epoch, number): rows for epoch, number, rows in part.seen}
    assert found == {(epoch, number): rows for epoch, number, rows in one.seen}
    assert all(
        torch.equal(a, b) for a, b in zip(parts[-1].state_dict().values(), one.state_dict().values(), strict=True)
    )


CHANGES = {
    "none": {},
    "accumulating": {"accumulate_grad_batches": 3},
    "validating within the epoch": {"val_check_interval": 2},
    "reloading": {"reload_dataloaders_every_n_epochs": 1},
    "overfitting": {"overfit_batches": 3},
    "limited": {"limit_train_batches": 4},
}


@pytest.mark.parametrize(("change", "moment"), [*product(CHANGES, [0, 1, 4, 6, 7, 8, 12])])
def test_an_exception_at_any_batch(change, moment, tmp_path, whole):
    settings = CHANGES[change]
    first, last = train(tmp_path, stop=moment, **settings)
    if not last.is_file():
        assert moment < settings.get("accumulate_grad_batches", 1)  # nothing has stepped
        return
    again, _ = train(tmp_path / "again", last, **settings)
    require_whole([first, again], whole(**settings))


@pytest.mark.parametrize(
    ("change", "steps"), [*product(["none", "validating within the epoch", "reloading"], [2, 5, 7, 14])]
)
def test_a_limit_that_ends_an_epoch_early(change, steps, tmp_path, whole):
    settings = CHANGES[change]
    first, last = train(tmp_path, max_steps=steps, **settings)
    again, _ = train(tmp_path / "again", last, **settings)
    require_whole([first, again], whole(**settings))
    assert again.trainer.global_step == EPOCHS * LENGTH
    validated = {*first.validated, *again.validated}
    assert validated >= {*whole(**settings).validated}


@pytest.mark.parametrize("limits", [(3, 11), (2, 4, 6, 8, 9, 17), (7, 7, 8)])
def test_many_limits_one_after_another(limits, tmp_path, whole):
    last, parts = None, []
    for number, steps in enumerate(limits):
        module, last = train(tmp_path / str(number), last if number else None, max_steps=steps)
        if not last.is_file():
            last = tmp_path / str(number - 1) / "last.ckpt"
        parts.append(module)
    module, _ = train(tmp_path / "end", last)
    require_whole([*parts, module], whole())


def test_another_batch_size_and_a_second_resume_lose_nothing(tmp_path):
    _, last = train(tmp_path / "a", max_epochs=2)
    longer, last = train(tmp_path / "b", last, max_epochs=3, data={"batch_size": 6})
    assert [number for _, number, _ in longer.seen] == [0, 1, 2]
    end, _ = train(tmp_path / "c", last, max_epochs=4, data={"batch_size": 6})
    assert [(epoch, number) for epoch, number, _ in end.seen] == [(3, 0), (3, 1), (3, 2)]
    assert end.trainer.global_step == 16


def test_a_limit_that_is_dropped_and_a_second_resume_lose_nothing(tmp_path):
    _, last = train(tmp_path / "a", max_epochs=1, limit_train_batches=3)
    _, last = train(tmp_path / "b", last, max_epochs=3)
    end, _ = train(tmp_path / "c", last, max_epochs=4)
    assert [(epoch, number) for epoch, number, _ in end.seen] == [(3, number) for number in range(LENGTH)]


@pytest.mark.parametrize("moment", [6, 7, 8, 9])
def test_a_batch_size_that_changes_within_an_epoch_is_kept_by_the_next_resume(moment, tmp_path):
    _, last = train(tmp_path / "a", stop=6)
    one, _ = train(tmp_path / "b", last, data={"batch_size": 2})
    first, last = train(tmp_path / "c", last, data={"batch_size": 2}, stop=moment)
    second, _ = train(tmp_path / "d", last, data={"batch_size": 2})
    require_whole([first, second], one)


def test_a_second_fit_begins_at_the_beginning(tmp_path):
    _, last = train(tmp_path / "a", stop=6)
    torch.manual_seed(0)
    module, numbers = Sum(), NumbersData(batch_size=BATCH, eval_batch_size=ROWS)
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    for ckpt in (last, None):
        module.seen = []
        trainer = Trainer(accelerator="cpu", max_epochs=2, num_sanity_val_steps=0, **quiet)
        trainer.fit(module, numbers, ckpt_path=ckpt, weights_only=True)
    assert [(epoch, number) for epoch, number, _ in module.seen] == list(product(range(2), range(LENGTH)))
