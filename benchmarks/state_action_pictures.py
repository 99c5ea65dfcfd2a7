"""Pictures of rolling plans: their noise levels, and a Unitree G1 that goes on by its own plans.

    python benchmarks/state_action_pictures.py --out docs
    python benchmarks/state_action_pictures.py --out docs --run runs/state_action/g1_small/version_0 --root FOLDER

diffusion_rolling.png needs nothing. state_action_g1.gif needs a trained state_action/g1_small and its data: it shows a
held-out motion, what the model makes of its first steps, and the same steered by a stick, each plan begun where the
last one ended.
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import datamodules
import lit_models
from datamodules.robots.kinematics import g1
from datamodules.stick_figures import Skeleton, save_animation
from datamodules.trajectories.contact import poses
from lit_models.diffusion.rolling import Rest, make_rolling
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.module import StateActionDDPM
from lit_models.state_action.objective import known_tokens
from litmotif.geometry.frames import Frame, to_character, to_world

HISTORY, HORIZON, LEVELS, EVERY, TICKS = 4, 16, 20, 2, 7


def levels_over_time(rest: Rest, stream: int) -> tuple[Tensor, list[int]]:
    """Levels (evaluations, time) of ``TICKS`` ticks, NaN outside the window, and the rows at which ticks begin."""
    diffusion = make_diffusion(LEVELS)
    known = known_tokens(HISTORY, HISTORY + 1 + HORIZON)
    rolling = make_rolling(rest, (diffusion, diffusion), known, LEVELS, EVERY)
    rows, begins = [], []
    for tick in range(TICKS):
        path = rolling.paths()[stream] if tick else rolling.first_paths(LEVELS)[stream]
        begins.append(len(rows))
        for levels in path:
            row = torch.full((known.shape[1] + EVERY * (TICKS - 1),), torch.nan)
            row[EVERY * tick : EVERY * tick + len(levels)] = levels.float()
            rows.append(row)
    return torch.stack(rows), begins


def draw_levels(path: Path) -> None:
    """Both ways to roll, for states and actions: time to the right, evaluations downwards, levels as colours."""
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    ways: tuple[tuple[str, Rest], ...] = (("warm start at (14, 4)", (14, 4)), ("ramp", "ramp"))
    for column, (name, rest) in enumerate(ways):
        for row, stream in enumerate(("states", "actions")):
            levels, begins = levels_over_time(rest, row)
            panel = axes[row, column]
            extent = (-HISTORY - 0.5, levels.shape[1] - HISTORY - 0.5, len(levels) - 0.5, -0.5)
            image = panel.imshow(
                levels, cmap="magma_r", vmin=0, vmax=LEVELS, aspect="auto", extent=extent, interpolation="nearest"
            )
            for tick, begin in enumerate(begins):
                panel.axhline(begin - 0.5, color="#1e6ec8", linewidth=0.8)
                panel.plot([EVERY * tick] * 2, [begin - 0.5, (*begins, len(levels))[tick + 1] - 0.5], "#1e6ec8")
            panel.set_yticks(begins, [f"tick {tick}" for tick in range(TICKS)], fontsize=7)
            panel.set_title(f"{stream}, {name}: {len(levels) - begins[-1] - 1} evaluations a tick", fontsize=10)
    for panel in axes[1]:
        panel.set_xlabel("step; the blue mark is now")
    figure.colorbar(image, ax=axes, label="noise level", shrink=0.8)
    figure.savefig(path, dpi=110)


def go_on(model: StateActionDDPM, states: Tensor, actions: Tensor, seconds: float, guide: list[dict] | None) -> Tensor:
    """States (T, S) of a robot that does what it plans, in the character frame of the first one."""
    n, every = model.history, 8
    root = to_world(states[..., :9], Frame(states.new_zeros(1, 2), states.new_zeros(1)))
    rest = states[..., 9:]
    for tick in range(round(seconds * model.layout.fps / every)):
        past, frame = to_character(*(part[:, -n - 1 :] for part in root), n)
        told = torch.cat([past, rest[:, -n - 1 :]], dim=-1)
        plan = model.plan(told, actions[:, -n:], guide, seed=tick)
        ahead = slice(n + 1, n + 1 + every)
        new = to_world(plan.states[0, :, ahead, :9], frame)
        root = tuple(torch.cat(parts, dim=1) for parts in zip(root, new, strict=True))
        rest = torch.cat([rest, plan.states[0, :, ahead, 9:]], dim=1)
        actions = torch.cat([actions, plan.actions[0, :, n : n + every]], dim=1)
    return torch.cat([to_character(*root, 0)[0], rest], dim=-1)[0]


def draw_robot(run: Path, root: str, clip: str, start: float, seconds: float, path: Path) -> None:
    """A held-out motion beside what the model makes of its beginning."""
    model = lit_models.load(run)
    model.settings = type(model.settings)(gradient="model", strength=300.0, start=0.95)
    data = datamodules.Trajectories(root=root, format="g1_csv", fps=30, mirror=True, history=model.history, tasks=[])
    split, n = data.split("test"), model.history
    store = split.store
    number = next(k for k, name in enumerate(store.names) if clip in name and "mirror" not in name)
    length = round(seconds * model.layout.fps) + n + 1
    first = int(store.starts(length, [number])[round(start * model.layout.fps)])
    states, _, _ = store.windows(torch.tensor([first]), length, 0)
    begun, acted, _ = store.windows(torch.tensor([first]), n + 1, n)
    tracks = {"motion capture, held out": states[0]}
    stick = [{"cost": "joystick", "velocity": [0.5, 0.0]}]
    for title, guide in (("model goes on", None), ("steered: 0.5 m/s ahead", stick)):
        tracks[title] = go_on(model, begun, acted[:, :n], seconds, guide)[:length]
    tree, layout = g1(), data.layout
    skeletons = [Skeleton(title, poses(track, layout, tree)[0].numpy()[::2]) for title, track in tracks.items()]
    save_animation(path, skeletons, tree.edges, tree.bodies, fps=model.layout.fps / 2)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--run", type=Path, help="a trained state_action/g1_small")
    parser.add_argument("--root", help="its data")
    parser.add_argument("--clip", default="JazzWalk", help="a part of the name of a held-out motion")
    parser.add_argument("--start", type=float, default=1.0, help="s")
    parser.add_argument("--seconds", type=float, default=3.5)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    draw_levels(args.out / "diffusion_rolling.png")
    if args.run and args.root:
        draw_robot(args.run, args.root, args.clip, args.start, args.seconds, args.out / "state_action_g1.gif")


if __name__ == "__main__":
    main()
