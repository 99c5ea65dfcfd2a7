"""A model is a table: what is written in it is what is trained, logged and judged."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lit_models.midi.evaluation import Score
from lit_models.midi.losses import Term
from lit_models.midi.metrics import Regression, absolute_error
from lit_models.midi.module import SequenceModule

from .songs import Data, Songs, make_trainer


@dataclass(frozen=True)
class Objective:
    second_weight: float = 1.0


class Levels(SequenceModule):
    """Two levels a frame, each with a weight of its own."""

    hidden = (("tanh", 8),)
    last = nn.Sigmoid
    terms: ClassVar = {"first": Term("distance", slice(0, 1)), "second": Term("distance", slice(1, 2), "second_weight")}
    scores: ClassVar = {"second": Score(lambda h: Regression(1), slice(1, 2), absolute_error)}
    headline = "mae"

    def __init__(self, *sizes, objective: Objective = Objective(), **kwargs):
        super().__init__(*sizes, **kwargs)


def test_terms_scores_and_headline_are_those_of_the_table():
    source = torch.Generator().manual_seed(0)
    inputs, targets = (torch.rand(4, 6, size, generator=source) for size in (3, 2))
    mask = torch.rand(4, 6, 2, generator=source) < 0.7
    module = Levels(3, 2, objective=Objective(0.25), optimizer={"lr": 0.0}).eval()
    with torch.no_grad():
        off = module(inputs) - targets
    first, second = (off[..., k][mask[..., k]] for k in range(2))
    trainer = make_trainer()
    trainer.test(module, Data(Songs(inputs, targets, mask, torch.arange(4))), verbose=False)
    found = trainer.callback_metrics
    torch.testing.assert_close(found["test/loss_first"], first.square().mean())
    torch.testing.assert_close(found["test/loss_second"], 0.25 * second.square().mean())
    torch.testing.assert_close(found["test/loss"], first.square().mean() + 0.25 * second.square().mean())
    torch.testing.assert_close(found["test/mae"], second.abs().mean())
    assert {f"test/mae/{row}" for row in ("constant", "chance", "copy")} <= found.keys()
