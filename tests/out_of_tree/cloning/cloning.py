"""Behaviour cloning: a perceptron names the action of every slot of a plan at once."""

import torch
from torch.nn import Linear, ReLU, Sequential, Unflatten
from torch.nn.functional import cross_entropy, one_hot

from lit_models.core.evaluation import MODEL, measure_rows
from lit_models.core.module import BaseModule
from lit_models.mdlm.metrics import PlanSuccess
from litmotif.batches.plans import END, Observation

KINDS = (11, 6, 4)  # objects, colours and states of a cell


class Cloning(BaseModule):
    """Horizon, view size and words come from the data; the optimiser and the seed from BaseModule."""

    architecture = frozenset({"horizon", "view_size", "words", "hidden_size"})

    def __init__(self, horizon: int, view_size: list[int], words: list[str], hidden_size: int = 256, **kwargs):
        super().__init__(**kwargs)
        features = view_size[0] * view_size[1] * sum(KINDS) + 4 + len(words) + 1
        self.network = Sequential(
            *(Linear(features, hidden_size), ReLU(), Linear(hidden_size, hidden_size), ReLU()),
            *(Linear(hidden_size, horizon * (END + 1)), Unflatten(1, (horizon, END + 1))),
        )

    def forward(self, seen: Observation) -> torch.Tensor:
        """Logits (B, L, 8)."""
        cells = [one_hot(ids, kinds).flatten(1) for ids, kinds in zip(seen.image.long().unbind(-1), KINDS, strict=True)]
        words = one_hot(seen.mission, len(self.hparams["words"]) + 1).sum(dim=1)
        return self.network(torch.cat([*cells, one_hot(seen.direction, 4), words], dim=1).float())

    def training_step(self, batch, batch_idx):
        return self.loss(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.loss(batch, "val")

    def test_step(self, batch, batch_idx):
        self.loss(batch, "test")

    def loss(self, batch, split):
        loss = cross_entropy(self(batch.observation).flatten(0, 1), batch.plan.flatten())
        self.log(f"{split}/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.plan), sync_dist=True)
        return loss

    def plan(self, seen: Observation) -> torch.Tensor:
        return self(Observation(*(part.to(self.device) for part in seen))).argmax(dim=-1)

    def on_validation_epoch_end(self):
        self.log_success("val")

    def on_test_epoch_end(self):
        self.log_success("test")

    def log_success(self, split):
        data, share = self.trainer.datamodule, (self.global_rank, self.trainer.world_size)
        rows = {MODEL: data.rollout(self.plan, split, None, *share)}
        rows |= data.baselines(split, *share) if split == "test" else {}
        table = measure_rows(PlanSuccess().to(self.device), rows)
        self.log_dict({f"{split}/{name}": value for name, value in table.items()})
