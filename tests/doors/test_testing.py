"""The laws that users hold their own modules to: ours keep them, and each is noticed where it is broken."""

import pytest
import torch

from litmotif import testing

from . import plain

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
test_on_our_base = testing.cases(plain.Ours, plain.OurData)


class Idle(plain.Ours):
    """Has a layer that nothing uses."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.idle = torch.nn.Linear(2, 2)


class Careless(plain.Ours):
    """Draws from the global generator before its first step, and keeps a count that no checkpoint holds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.count = 0

    def training_step(self, batch, batch_idx):
        self.count += 1
        return self.count * super().training_step(batch, batch_idx)


class Forgetful(plain.Plain):
    """Keeps no hyper-parameters."""

    def __init__(self, width: int = 3):
        torch.nn.Module.__init__(self)
        super().__init__()
        self.hparams.clear()
        self.width = width


class Silent(plain.Ours):
    """Validates, and logs nothing."""

    def validation_step(self, batch, batch_idx):
        pass


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Idle, ["every_parameter_learns", "idle.weight"]),
        (Careless, ["a_resumed_run_equals", "no checkpoint holds"]),
        (Forgetful, ["plain_hyper_parameters", "'width'"]),
        (Silent, ["evaluation_leaves", "logs nothing"]),
    ],
)
def test_a_broken_law_is_named(module, words):
    with pytest.raises(testing.LawError) as error:
        testing.check(module, plain.OurData)
    assert all(word in str(error.value) for word in [module.__name__, *words]), str(error.value)
