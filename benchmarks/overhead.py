"""Overhead of a training step: Lightning and litmotif beside a plain PyTorch loop of the same model.

    python benchmarks/overhead.py [--configs mdlm/empty_8x8] [--steps 100] [--options trainer.enable_progress_bar=false]

Each config runs as ``litmotif fit`` with all its callbacks, loggers and its progress bar. Before every step of it a
plain loop makes one step of a second copy of model, optimiser, schedule, data and average, turn by turn in one process,
so that a busy machine slows both alike. The plain loop does what one writes by hand: fetch, loss, backward, clip, step,
schedule, average, and the running mean of each scalar that the module logs. It prints and writes nothing, neither moves
nor checks its batch, and could not go on from a checkpoint. CPO is its own optimiser: its plain loop calls collector,
update and critics directly.

CPU seconds are those of the whole process, the threads of loggers included; wall seconds also hold what other programs
took, and say more about the machine. ``added`` is the median of the differences between neighbouring steps, ``share``
its share of the plain step. The row ``--bare`` is Lightning's own part, whatever is trained: one small layer under a
Trainer without callbacks, loggers and progress bar.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import callbacks
from lit_models.cli import main as litmotif
from lit_models.core.normalizer import Standardizer
from lit_models.cpo.on_policy import OnPolicy

CONFIGS = {
    "mdlm/empty_8x8": [],
    "mdlm/four_rooms": ["--data.train=40", "--data.val=4", "--data.test=4"],
    "state_action/base_forest": ["--data.episodes=20"],
    "motion/procedural": ["--data.clips=200"],
    "motion/evaluator": ["--data.clips=200"],
    "cpo/cmdp_lp": [],
    "cpo/wheelchair": [],
    "midi/emotion": [],
    "midi/melody": [],
    "midi/harmony": [],
    "midi/dynamics": [],
    "midi/groove": [],
}
"""Default size of each algorithm, with less data: a step does not know how much there is."""
WARM = 10
"""Steps left out at the beginning."""
COLUMNS = ("config", "plain", "litmotif", "added", "share", "share of the sums", "wall: plain", "litmotif")


class Plain:
    """A training loop as one writes it by hand, one step at a time.

    Args:
        module: untrained; nothing of Lightning is called on it.
        data: gives the batches.
        clip: largest norm of the gradient.
        decay: of the average of the weights; None keeps none.
        steps: of the whole schedule.
    """

    def __init__(
        self, module: Any, data: LightningDataModule, clip: float | None, decay: float | None, steps: int
    ) -> None:
        self.module, self.clip = module, clip
        total = SimpleNamespace(processed=0)
        progress = SimpleNamespace(batch_progress=SimpleNamespace(total=total))
        module.trainer = SimpleNamespace(  # what a loss asks about its step
            strategy=SingleDeviceStrategy(),
            world_size=1,
            global_rank=0,
            precision="32-true",
            max_epochs=1,
            estimated_stepping_batches=steps,
            fit_loop=SimpleNamespace(epoch_loop=progress),
        )
        module.log_means, module.log_steps = self._note_means, lambda *args: None
        self.means: dict[str, tuple[torch.Tensor, int]] = {}
        self.total = total
        given = module.configure_optimizers()
        self.configured = given if isinstance(given, list) else [given]
        self.optimizers = [each["optimizer"] for each in self.configured]
        self.batches = self._endless(data)
        average = AveragedModel(module_weights(module), multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        self.average, self.weights = average, module_weights(module)
        if isinstance(module, OnPolicy):
            pair = [SimpleNamespace(optimizer=each, step=each.step) for each in self.optimizers]
            module.optimizers = lambda use_pl_optimizer=True: pair if use_pl_optimizer else self.optimizers

    def _note(self, name: str, value: Any, batch_size: int = 1) -> None:
        """The sum of a scalar and its weight, of which a mean is made at the end of an epoch."""
        total, weight = self.means.get(name, (0.0, 0))
        self.means[name] = total + torch.as_tensor(value).detach() * batch_size, weight + batch_size

    def _note_means(self, values: dict[str, torch.Tensor], rows: int) -> None:
        for name, value in values.items():
            self._note(name, value, rows)

    @staticmethod
    def _endless(data: LightningDataModule) -> Iterator[Any]:
        while True:
            yield from data.train_dataloader()

    def step(self) -> None:
        """Fetch, learn, average."""
        batch = next(self.batches)
        if isinstance(self.module, OnPolicy):
            self._policy_step(batch)
        else:
            (optimizer,) = self.optimizers
            loss = self.module.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
            optimizer.step()
        for each in self.configured:
            schedule = each["lr_scheduler"]
            if schedule.get("interval") == "step":
                schedule["scheduler"].step()
        if self.average is not None:
            self.average.update_parameters(self.weights)
        self.total.processed += 1

    def _policy_step(self, batch: Any) -> None:
        module = self.module
        source = module.step_generator(self.total.processed)
        with torch.no_grad():
            rollout = batch.collect(module._actor(batch.first, batch.total, source, deterministic=False))
        samples, targets, report = module._samples(rollout, batch)
        report |= module.update_policy(samples)
        report |= module._fit_critics(samples, targets, source)
        module.observation_moments.merge(Standardizer.sums(rollout.observation))
        for name, value in report.items():
            self._note(f"train/{name}", value)


def module_weights(module: nn.Module) -> nn.Module:
    """What is averaged, without the wrapper around it."""
    return nn.ParameterList(parameter for parameter in module.parameters() if parameter.requires_grad)


class Clock:
    """Seconds between its questions."""

    def __init__(self) -> None:
        self.last = time.process_time(), time.perf_counter()

    def passed(self) -> tuple[float, float]:
        """CPU and wall seconds since the last question."""
        before, self.last = self.last, (time.process_time(), time.perf_counter())
        return self.last[0] - before[0], self.last[1] - before[1]


class Beside(Callback):
    """Makes a plain step before each step of the run, and writes down what both take.

    Args:
        path: of a JSON file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.times: dict[str, list[tuple[float, float]]] = {"plain": [], "litmotif": []}
        self.clock: Clock | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the second copy."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        own = signature(type(data)).parameters
        taken = data.hparams.keys() if "kwargs" in own else own.keys() & data.hparams.keys()
        again = type(data)(**{key: data.hparams[key] for key in taken})
        again.prepare_data()
        again.setup("fit")
        module = type(pl_module)(**pl_module.hparams)
        decay = [each.decay for each in trainer.callbacks if isinstance(each, callbacks.EMAWeights)]  # type: ignore[attr-defined]
        if hasattr(module, "setup"):
            module.trainer = trainer
            module.setup("fit")
        module.train().load_state_dict(pl_module.state_dict())
        self.plain = Plain(module, again, trainer.gradient_clip_val, *(decay or [None]), trainer.num_training_batches)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Between two steps."""
        if self.clock is not None:
            self.times["litmotif"].append(self.clock.passed())
        self.clock = self.clock or Clock()
        self.clock.passed()
        self.plain.step()
        self.times["plain"].append(self.clock.passed())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the numbers."""
        Path(self.path).write_text(json.dumps(self.times))


def measure(config: str, steps: int, options: list[str], folder: Path) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each step of both loops, in this process."""
    path = folder / f"{config.replace('/', '_')}.json"
    size = [f"--data.steps_per_epoch={steps}", "--trainer.max_epochs=1", "--trainer.limit_val_batches=1"]
    beside = {"class_path": "overhead.Beside", "init_args": {"path": str(path)}}
    quiet = ["--trainer.num_sanity_val_steps=0", "--test_after_fit=false", f"--trainer.default_root_dir={folder}"]
    command = ["fit", "-c", config, *CONFIGS[config], *size, *quiet, f"--trainer.callbacks+={json.dumps(beside)}"]
    if litmotif([*command, *(f"--{option}" for option in options)]):
        sys.exit(f"{config} failed.")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


class Bare(LightningModule):
    """One small layer, which logs nothing, and a plain step of its copy before each of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.copy = nn.Linear(8, 8), [nn.Linear(8, 8)]  # the copy is no part of the module
        self.other = torch.optim.AdamW(self.copy[0].parameters(), fused=True)
        self.clock, self.times = Clock(), {"plain": [], "litmotif": []}
        self.batches = iter(DataLoader(torch.randn(80_000, 8), 8))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As the plain loop has it."""
        return torch.optim.AdamW(self.layer.parameters(), fused=True)

    def on_train_batch_start(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Between two steps."""
        if batch_idx:
            self.times["litmotif"].append(self.clock.passed())
        self.clock.passed()
        loss = self.copy[0](next(self.batches)).square().mean()
        self.other.zero_grad()
        loss.backward()
        self.other.step()
        self.times["plain"].append(self.clock.passed())

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """A loss."""
        return self.layer(batch).square().mean()  # type: ignore[no-any-return]


def bare(steps: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each step of Lightning alone and of a plain loop."""
    without = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    module = Bare()
    Trainer(max_epochs=1, accelerator="cpu", **dict.fromkeys(without, False)).fit(
        module, DataLoader(torch.randn(8 * steps, 8), 8)
    )
    return module.times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", action="store_true", help="Lightning alone, too")
    parser.add_argument("--configs", nargs="*", default=list(CONFIGS), choices=list(CONFIGS))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", nargs="*", default=[], help="for the command, as KEY=VALUE without dashes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = Table(title=f"milliseconds a step, medians of {args.steps - WARM - 1}, {args.threads} thread(s)")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "config" else "right")
    for config in args.configs:
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(config, *row(measure(config, args.steps, args.options, Path(folder))))
    if args.bare:
        table.add_row("Lightning alone", *row(bare(args.steps)))
    Console(width=110).print(table)


def row(times: dict[str, list[tuple[float, float]]]) -> Iterator[str]:
    """Medians of both loops, what is added, in pairs, and its share of the plain step."""
    plain, ours = times["plain"][WARM:-1], times["litmotif"][WARM:]
    for kind in (0, 1):  # CPU, wall
        pairs = [(1000 * one[kind], 1000 * other[kind]) for one, other in zip(plain, ours, strict=True)]
        alone, ours_alone = (statistics.median(part) for part in zip(*pairs, strict=True))
        added = statistics.median(other - one for one, other in pairs)
        yield from (f"{alone:.2f}", f"{ours_alone:.2f}")
        if not kind:
            yield from (f"{added:+.2f}", f"{added / alone:+.1%}", f"{_ratio_of_sums(pairs) - 1:+.1%}")


def _ratio_of_sums(pairs: list[tuple[float, float]]) -> float:
    plain, ours = (sum(part) for part in zip(*pairs, strict=True))
    return ours / plain


if __name__ == "__main__":
    main()
