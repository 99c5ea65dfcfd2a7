"""What Lightning and litmotif add to a training step, beside a plain PyTorch loop of the same model.

    python benchmarks/overhead.py [--configs mdlm/empty_8x8] [--steps 60] [--options trainer.enable_progress_bar=false]

Each config runs as ``litmotif fit`` with all its callbacks and loggers; before every step of it a plain loop makes one
step of a second copy of model, optimiser, schedule, data and average: fetch, loss, backward, clip, step. Both are
measured in CPU seconds of one process, turn by turn, so that a busy machine slows both alike. CPO is its own optimiser:
its plain loop calls collector, update and critics directly.
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
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import callbacks
from lit_models.cli import main as litmotif
from lit_models.cpo.network import RunningMoments
from lit_models.cpo.on_policy import OnPolicy

CONFIGS = {
    "mdlm/empty_8x8": [],
    "ddpm/base_forest": ["--data.episodes=20"],
    "ddpm/motion_procedural": ["--data.clips=200"],
    "cpo/cmdp_lp": [],
    "midi/emotion": [],
    "midi/melody": [],
    "midi/harmony": [],
    "midi/dynamics": [],
    "midi/groove": [],
}
"""Default size of each algorithm, with less data: a step does not know how much there is."""
WARM = 10
"""Steps left out at the beginning."""


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
            world_size=1,
            global_rank=0,
            precision="32-true",
            max_epochs=1,
            estimated_stepping_batches=steps,
            fit_loop=SimpleNamespace(epoch_loop=progress),
        )
        module.log = module.log_dict = lambda *args, **kwargs: None
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
        samples, targets, _ = module._samples(rollout, batch)
        module.update_policy(samples)
        module._fit_critics(samples, targets, source)
        module.observation_moments.merge(RunningMoments.sums(rollout.observation))


def module_weights(module: nn.Module) -> nn.Module:
    """What is averaged, without the wrapper around it."""
    return nn.ParameterList(parameter for parameter in module.parameters() if parameter.requires_grad)


class Beside(Callback):
    """Makes a plain step before each step of the run, and writes down what both take.

    Args:
        path: of a JSON file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.times: dict[str, list[float]] = {"plain": [], "litmotif": []}
        self.since: float | None = None

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
        now = time.process_time()
        if self.since is not None:
            self.times["litmotif"].append(now - self.since)
        now = time.process_time()
        self.plain.step()
        self.since = time.process_time()
        self.times["plain"].append(self.since - now)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the numbers."""
        Path(self.path).write_text(json.dumps(self.times))


def measure(config: str, steps: int, options: list[str], folder: Path) -> dict[str, list[float]]:
    """CPU seconds of each step, in this process."""
    path = folder / f"{config.replace('/', '_')}.json"
    size = [f"--data.steps_per_epoch={steps}", "--trainer.max_epochs=1", "--trainer.limit_val_batches=1"]
    beside = {"class_path": "overhead.Beside", "init_args": {"path": str(path)}}
    quiet = ["--trainer.num_sanity_val_steps=0", "--test_after_fit=false", f"--trainer.default_root_dir={folder}"]
    command = ["fit", "-c", config, *CONFIGS[config], *size, *quiet, f"--trainer.callbacks+={json.dumps(beside)}"]
    if litmotif([*command, *(f"--{option}" for option in options)]):
        sys.exit(f"{config} failed.")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), choices=list(CONFIGS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", nargs="*", default=[], help="for the command, as KEY=VALUE without dashes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = Table(title=f"CPU milliseconds a step, {args.threads} thread(s), {args.steps - WARM} steps")
    for column in ("config", "plain, median", "litmotif, median", "overhead", "overhead of the mean"):
        table.add_column(column, justify="left" if column == "config" else "right")
    for config in args.configs:
        with tempfile.TemporaryDirectory() as folder:
            times = measure(config, args.steps, args.options, Path(folder))
        plain, ours = times["plain"][WARM:-1], times["litmotif"][WARM:]
        middle = [1000 * statistics.median(part) for part in (plain, ours)]
        ratios = [middle[1] / middle[0], sum(ours) / sum(plain)]
        table.add_row(config, *(f"{ms:.2f}" for ms in middle), *(f"{ratio - 1:+.1%}" for ratio in ratios))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
