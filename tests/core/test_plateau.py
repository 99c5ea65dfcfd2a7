"""``plateau`` counts the epochs that evaluate, wherever a run was interrupted."""

import pytest
import torch

from tests.conformance.cases import each_step, make, make_trainer, same_state

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create"),
]
EPOCHS, LR = 4, 3.0
RARELY = {"check_val_every_n_epoch": None, "val_check_interval": 7}  # after batches 7 and 14: in epochs 1 and 2
OFTEN = {"val_check_interval": 0.4}  # after the second and fourth batch of each epoch


def fit(folder, validations, *callbacks, **options):
    torch.set_num_threads(1)
    module, data = make(
        "EmotionRecognizer", schedule={"name": "plateau", "patience": 0, "gamma": 0.7}, optimizer={"lr": LR}
    )
    make_trainer(folder, *callbacks, ema=False, max_epochs=EPOCHS, **validations).fit(module, data, **options)
    return module


def plateau(module):
    return module.trainer.lr_scheduler_configs[0].scheduler.state_dict()


@pytest.fixture(scope="module", params=[(RARELY, 2), (OFTEN, EPOCHS)], ids=["rarely", "often"])
def whole(request, tmp_path_factory):
    validations, steps = request.param
    folder = tmp_path_factory.mktemp("whole")
    module = fit(folder, validations, each_step(folder))
    assert plateau(module)["last_epoch"] == steps
    return folder, validations, module


@pytest.mark.parametrize("step", [3, 6, 8, 11, 13, 16, 18])  # no validation follows the batch
def test_a_resumed_run_reduces_as_the_uninterrupted_one(step, whole, tmp_path):
    folder, validations, module = whole
    again = fit(tmp_path, validations, ckpt_path=folder / f"step={step}.ckpt", weights_only=True)
    assert plateau(again) == plateau(module)
    assert same_state(again.state_dict(), module.state_dict())
