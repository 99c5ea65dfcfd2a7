"""A notebook: what Python's user does with a module and its data, for every registered module."""

import pytest
import torch

from tests.conformance.cases import NAMES, make, make_trainer

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
BRIEF = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}


def test_evaluations_and_fits_in_any_order(name, tmp_path):
    module, data = make(name)
    trainer = make_trainer(tmp_path, **BRIEF)
    trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    again = make_trainer(tmp_path, **BRIEF)
    again.fit(module, data)
    found = again.validate(module, data, verbose=False)
    assert torch.tensor([value for key, value in found[0].items() if key == "val/loss"]).isfinite().all()
