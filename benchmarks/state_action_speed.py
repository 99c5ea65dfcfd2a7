"""Speed of StateActionDDPM: plan latency, and training windows a second beside a loop in the style of MotionDiffuse.

    python benchmarks/state_action_speed.py [--device cuda]

Plans: state_action/g1_small at batch 1, medians. Training: the same network and optimiser in one run, side by side. The
rival loop gathers windows one by one in ``Dataset.__getitem__``, normalises and collates them in Python, builds its
padding mask in a double loop on every forward pass and averages its weights parameter by parameter. On a GPU networks
are compiled, plans replay CUDA graphs and training runs in bfloat16.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

import datamodules
import lit_models
from datamodules.trajectories.datamodule import Windows
from lit_models.cli import configs
from lit_models.state_action.costs import make_costs
from lit_models.state_action.module import StateActionDDPM
from litmotif.seeding import generator

LAYOUT = {
    "root": "spatial",
    "state": [
        {"name": "root_pos", "size": 3, "unit": "m", "frame": "character"},
        {"name": "root_vel", "size": 3, "unit": "m/s", "frame": "character"},
        {"name": "root_rot", "size": 3, "unit": "rad", "frame": "character"},
        {"name": "body_pos", "size": 39, "unit": "m", "frame": "local"},
        {"name": "body_vel", "size": 39, "unit": "m/s", "frame": "local"},
        {"name": "joint_pos", "size": 29, "unit": "rad", "frame": "none"},
    ],
    "action": [{"name": "joint_target", "size": 29, "unit": "rad"}],
    "fps": 30.0,
    "joints": [f"joint {number}" for number in range(29)],
    "bodies": [f"body {number}" for number in range(13)],
}
"""Columns of a G1."""


def make(name: str) -> StateActionDDPM:
    """The model of a config, untrained."""
    settings = yaml.safe_load(configs.find(f"state_action/{name}").read_text())
    data = settings["data"]["init_args"]
    torch.manual_seed(0)
    model = lit_models.StateActionDDPM(LAYOUT, data["history"], data["horizon"], **settings["model"]["init_args"])
    size = model.layout.state_size, model.layout.action_size
    model.normalizer.fit(*(value for columns in size for value in (torch.zeros(columns), torch.ones(columns))))
    return model


def median(action: Callable[[], object], repeats: int, device: str) -> float:
    """Seconds."""
    times = []
    for _ in range(repeats + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def plan_latency(device: str) -> dict[str, float]:
    """Milliseconds of a 20-step plan at batch 1."""
    model = make("g1_small").to(device).eval()
    if device == "cuda":
        model.network.compile(mode="reduce-overhead")
    past = (torch.randn(1, 5, model.layout.state_size), torch.randn(1, 4, model.layout.action_size))
    cost = make_costs([{"cost": "joystick", "velocity": [0.5, 0.0]}], model.layout, model.history)
    found = {}
    for name, guide, gradient in (("plain", None, "x0"), ("guided, x0", cost, "x0"), ("guided, model", cost, "model")):
        model.settings = type(model.settings)(gradient=gradient)
        found[name] = 1000 * median(lambda guide=guide: model.plan(*past, guide=guide), 15, device)
    network, levels = model.network, (torch.full((1, model.network.length), 10, device=device),) * 2
    x = tuple(
        torch.randn(1, model.network.length, size, device=device)
        for size in (model.normalizer.state_size, model.normalizer.action_size)
    )
    with torch.no_grad():
        found["of which the network, 20 times"] = 20_000 * median(lambda: network(x, levels), 30, device)
    return found


class OneByOne(Dataset):
    """Windows as hand-written trainers take them."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple:
        window = self.windows.__getitems__([(index, 0)])
        states, actions = window.states[0].numpy(), window.actions[0].numpy()
        return (states - states.mean(0)) / (states.std(0) + 1e-6), actions, len(states)


def double_loop_mask(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """A padding mask entry by entry."""
    mask = torch.zeros(len(lengths), longest)
    for row in range(len(lengths)):
        for step in range(longest):
            mask[row, step] = float(step < lengths[row])
    return mask


class Training:
    """One network in training, in one of two styles."""

    def __init__(self, model: StateActionDDPM, data: datamodules.Trajectories, batch: int, device: str) -> None:
        self.model, self.data, self.device, self.rows = copy.deepcopy(model).to(device), data, device, batch
        self.optimizer = torch.optim.AdamW(self.model.network.parameters(), lr=1e-4)
        self.average = copy.deepcopy(self.model.network)
        self.step = 0
        self.network = self.model.network
        if device == "cuda":
            self.network = torch.compile(self.network)

    def learn(self, states: torch.Tensor, actions: torch.Tensor, known: torch.Tensor | None = None) -> None:
        """One optimiser step on physical windows."""
        objective, source = self.model.objective, generator(0, self.step, device=self.device)
        self.step += 1
        x0 = self.model.normalizer.normalise(states.to(self.device), actions.to(self.device))
        noise = tuple(torch.randn(part.shape, generator=source, device=self.device) for part in x0)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            losses = objective.losses(self.network, x0, noise, objective.draw_levels(len(states), source))
        loss = sum(losses).mean() if known is None else (sum(losses) * known.mean(1)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def rate(self, style: str, steps: int) -> float:
        """Windows a second of ``ours`` or ``by_hand``."""
        start = time.perf_counter()
        getattr(self, style)(steps)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return steps * self.rows / (time.perf_counter() - start)

    def ours(self, steps: int) -> None:
        """Windows gathered at once."""
        windows = self.data.split("train")
        for step in range(steps):
            order = torch.randint(len(windows), (self.rows,), generator=torch.Generator().manual_seed(step)).tolist()
            batch = windows.__getitems__([(index, 0) for index in order])
            self.learn(batch.states, batch.actions)
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.model.network.parameters()), 0.01)

    def by_hand(self, steps: int) -> None:
        """Windows one by one."""
        loader = iter(DataLoader(OneByOne(self.data.split("train")), self.rows, shuffle=True, drop_last=True))
        for _ in range(steps):
            states, actions, lengths = next(loader)
            self.learn(states, actions, double_loop_mask(lengths, states.shape[1]).to(self.device))
            for kept, value in zip(self.average.parameters(), self.model.network.parameters(), strict=True):
                kept.data = kept.data * 0.99 + value.data * 0.01


def training_rates(
    data: datamodules.Trajectories, batch: int, steps: int, rounds: int, device: str
) -> dict[str, float]:
    """Windows a second of either style, side by side: medians over the rounds."""
    settings = yaml.safe_load(configs.find("state_action/g1_small").read_text())["model"]["init_args"]
    model = lit_models.StateActionDDPM(data.layout, data.history, data.horizon, data.statistics, **settings)
    sides = {style: Training(model, data, batch, device) for style in ("ours", "by_hand")}
    for side in sides.values():
        side.ours(1)  # warm up, compile
    rates = [{style: side.rate(style, steps) for style, side in sides.items()} for _ in range(rounds)]
    return {style: statistics.median(rate[style] for rate in rates) for style in sides}


def data_alone(data: datamodules.Trajectories, rows: int) -> tuple[float, float]:
    """Windows a second without any network: ours, one by one."""
    windows = data.split("train")
    draws = [(index, 0) for index in torch.randint(len(windows), (rows,)).tolist()]
    gathered = rows / median(lambda: windows.__getitems__(draws), 10, "cpu")
    loader = DataLoader(OneByOne(windows), rows, shuffle=True)
    return gathered, rows / median(lambda: next(iter(loader)), 3, "cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    console = Console(width=120)
    table = Table(title=f"state_action/g1_small, batch 1, {torch.get_num_threads()} threads, {args.device}")
    table.add_column("a plan of 20 steps")
    table.add_column("ms", justify="right")
    for name, milliseconds in plan_latency(args.device).items():
        table.add_row(name, f"{milliseconds:.1f}")
    console.print(table)

    data = datamodules.Trajectories(episodes=60)
    rates = training_rates(data, args.batch, args.steps, args.rounds, args.device)
    gathered, one_by_one = data_alone(data, args.batch)
    table = Table(title=f"windows a second, 42 tokens, batch {args.batch}, medians of {args.rounds}")
    for column in ("", "ours", "by hand", "ratio"):
        table.add_column(column, justify="right")
    ours, by_hand = rates["ours"], rates["by_hand"]
    table.add_row("training", f"{ours:,.0f}", f"{by_hand:,.0f}", f"{ours / by_hand:.2f}")
    table.add_row("data alone", f"{gathered:,.0f}", f"{one_by_one:,.0f}", f"{gathered / one_by_one:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
