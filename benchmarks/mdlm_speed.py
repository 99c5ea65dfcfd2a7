"""Tokens a second of MDLM-DiT on this machine, and what Lightning costs on top of a plain PyTorch loop.

    python benchmarks/mdlm_speed.py

A 1.2 M model (width 128, 4 layers, 4 heads) on 49 tokens a plan: 36 cells and 13 plan slots. Each figure is the median
of several runs; plain loop and Trainer take turns in one process, so that a noisy machine hits both.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from lightning.pytorch import LightningDataModule, Trainer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from lit_models import MDLMDiT
from lit_models.mdlm import diffusion
from lit_models.mdlm.network import END, MASK

CELLS, SLOTS, SIDE = 36, 13, 8


class Observation(NamedTuple):
    """Random observations of an 8 x 8 grid."""

    image: Tensor
    direction: Tensor
    mission: Tensor


class Batch(NamedTuple):
    """Random plans."""

    observation: Observation
    plan: Tensor
    floor: Tensor
    item: Tensor


def random_batch(size: int) -> Batch:
    """A batch of the shapes of Empty-8x8."""
    image = torch.randint(3, (size, SIDE, SIDE, 3)).byte()
    observation = Observation(image, torch.randint(4, (size,)), torch.zeros(size, 0, dtype=torch.int64))
    return Batch(observation, torch.randint(END + 1, (size, SLOTS)), torch.zeros(size), torch.arange(size))


class RandomPlans(LightningDataModule):
    """The same batch again and again: no data cost on either side."""

    def __init__(self, batch: Batch, steps: int) -> None:
        super().__init__()
        self.batch, self.steps = batch, steps

    def train_dataloader(self) -> DataLoader[Batch]:
        """``steps`` times the batch."""
        return DataLoader([self.batch] * self.steps, batch_size=None)  # type: ignore[arg-type]


def make_module(horizon: int = SLOTS) -> MDLMDiT:
    """The 1.2 M model."""
    torch.manual_seed(0)
    return MDLMDiT(
        horizon=horizon, view_size=[SIDE, SIDE], network={"hidden_size": 128, "num_layers": 4, "crop_border": True}
    )


def plain_loop(batch: Batch, steps: int) -> float:
    """Seconds of ``steps`` training steps without Lightning."""
    module = make_module()
    network, schedule = module.network, module.schedule
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    start = time.perf_counter()
    for _ in range(steps):
        t = diffusion.low_discrepancy_times(len(batch.plan), generator)
        masked = torch.rand(batch.plan.shape, generator=generator) >= schedule.alpha(t)[:, None]
        logits = network.decode(torch.where(masked, MASK, batch.plan), network.encode(batch.observation))
        nll = diffusion.cross_entropy(logits, batch.plan, masked)
        loss = (schedule.weight(t) * nll.sum(dim=1)).mean() / SLOTS
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - start


def lightning_fit(batch: Batch, steps: int) -> float:
    """Seconds of the same steps under Lightning's Trainer, without its start-up."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    module = make_module()
    marks: list[float] = []
    module.on_train_start = lambda: marks.append(time.perf_counter())  # type: ignore[method-assign]
    module.on_train_end = lambda: marks.append(time.perf_counter())  # type: ignore[method-assign]
    trainer.fit(module, datamodule=RandomPlans(batch, steps))
    return marks[1] - marks[0]


@torch.no_grad()
def forward(batch: Batch, repeats: int) -> float:
    """Seconds of ``repeats`` encodings and denoisings."""
    network = make_module().network.eval()
    start = time.perf_counter()
    for _ in range(repeats):
        network.decode(batch.plan, network.encode(batch.observation))
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch_size", type=int, default=64)
    args = parser.parse_args()
    batch = random_batch(args.batch_size)
    tokens = args.batch_size * (CELLS + SLOTS) * args.steps
    plain_loop(batch, 3)
    rows: dict[str, list[float]] = {"plain": [], "lightning": [], "forward": []}
    for _ in range(args.runs):
        rows["plain"].append(tokens / plain_loop(batch, args.steps))
        rows["lightning"].append(tokens / lightning_fit(batch, args.steps))
        rows["forward"].append(tokens / forward(batch, args.steps))
    ratio = statistics.median(a / b for a, b in zip(rows["lightning"], rows["plain"], strict=True))
    parameters = sum(parameter.numel() for parameter in make_module().network.parameters())
    table = Table(title=f"MDLM-DiT, {parameters / 1e6:.2f} M parameters, {torch.get_num_threads()} threads")
    for column in ("measure", "median", "best"):
        table.add_column(column)
    for name, label in [
        ("lightning", "training, tokens/s"),
        ("plain", "plain PyTorch loop, tokens/s"),
        ("forward", "forward, tokens/s"),
    ]:
        table.add_row(label, f"{statistics.median(rows[name]):,.0f}", f"{max(rows[name]):,.0f}")
    table.add_row("training over plain loop", f"{ratio:.3f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
