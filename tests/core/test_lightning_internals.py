"""What this Lightning keeps to itself is where ``lightning_internals.py`` says; a test a name."""

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_models.core import lightning_internals as internals
from tests.conformance.cases import make, make_trainer


class Raises(Callback):
    """Raises in a hook, once a step is reached, and keeps the checkpoint that is written then."""

    def __init__(self, hook, step):
        self.step, self.checkpoint = step, None
        setattr(self, hook, self.fail)

    def fail(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KeyError

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self.checkpoint = checkpoint


def saved(folder, hook, step, **settings):
    raises = Raises(hook, step)
    last = ModelCheckpoint(folder, filename="last", save_on_exception=True, enable_version_counter=False)
    with pytest.raises(KeyError):
        make_trainer(folder, raises, last, ema=False, **settings).fit(*make("MDLMDiT"))
    return raises.checkpoint["loops"]["fit_loop"]


def test_batches_that_stepped(tmp_path):
    steps = []

    class Counts(Callback):
        def on_train_batch_end(self, trainer, *_):
            steps.append(internals.record_step(trainer))

    make_trainer(tmp_path, Counts(), ema=False, accumulate_grad_batches=2, max_epochs=2).fit(*make("MDLMDiT"))
    assert steps == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]  # of five batches an epoch, the last of which steps


@pytest.mark.parametrize(("accumulated", "hook", "step", "left"), [(1, "on_before_zero_grad", 2, 1)])
def test_state_of_the_epoch_loop(accumulated, hook, step, left, tmp_path):
    loops = saved(tmp_path, hook, step)
    assert loops[internals.LOOP] == {internals.STEPPED: left}
    assert loops["epoch_loop.batch_progress"]["total"]["ready"] == step + 1


def test_progress_of_the_validation(tmp_path):
    loops = saved(tmp_path, "on_validation_batch_end", 5)
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress = loops[internals.VALIDATION]
    assert (progress["current"], progress["total"]) == (begun, begun)


def test_a_validation_that_was_cut_off_is_forgotten(tmp_path):
    trainer = make_trainer(tmp_path)
    total = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    total.ready, total.completed = 3, 2
    internals.begin_validation(trainer)
    assert total.ready == 2
