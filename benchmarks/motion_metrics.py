"""Metrics of motion beside Python loops, and forward kinematics beside a training step.

    python benchmarks/motion_metrics.py

The first table times each metric on the same batch as a double loop in numpy, over clips and over frames, or onsets and
beats, and tells the largest difference of their results. The second times what the losses decode, 55 joints from
rotation vectors on a tree of the depth of SMPL-X, and one step of a plain transformer on the same batch: forward,
backward and AdamW. One thread on a CPU; ``--device cuda`` times a GPU instead.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lit_models.motion.metrics import beat_consistency, motion_beats, skating
from lit_models.motion.skeleton import MotionLayout

FPS = 30.0
JOINTS = 13
"""Of the upper body."""


def median_ms(run: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """Milliseconds, after one call to warm up."""
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found[1:])


def loop_skating(feet: np.ndarray) -> np.ndarray:
    """``skating`` of clips (B, T, F, 3), y up, a step at a time."""
    found = []
    for clip in feet:
        count, steps = 0, len(clip) - 1
        speed = [
            [math.hypot(*(b - a)[[0, 2]]) * FPS for a, b in zip(*clip[t : t + 2], strict=True)] for t in range(steps)
        ]
        for t in range(steps):
            for foot in range(clip.shape[1]):
                mean = sum(speed[s][foot] for s in range(max(t - 2, 0), min(t + 3, steps))) / 5
                low = clip[t, foot, 1] < 0.05 and clip[t + 1, foot, 1] < 0.05
                if low and speed[t][foot] > 0.5 and mean > 0.5:
                    count += 1
                    break
        found.append(count / steps)
    return np.array(found)


def loop_beats(beats: np.ndarray, onsets: np.ndarray, sigma: float = 0.3) -> np.ndarray:
    """``beat_consistency`` of beats (B, S, J) and onsets (B, N), an onset and a beat at a time."""
    found = []
    for clip, heard in zip(beats, onsets, strict=True):
        total = 0.0
        for joint in clip.T:
            times = (np.nonzero(joint)[0] + 0.5) / FPS
            for onset in heard:
                nearest = math.inf
                for beat in times:
                    nearest = min(nearest, abs(beat - onset))
                total += math.exp(-(nearest**2) / (2 * sigma**2))
        found.append(total / len(heard) / clip.shape[1])
    return np.array(found)


def metrics(batch: int, seconds: float, repeats: int) -> Table:
    """Both metrics on random walks, as many onsets as speech has: three a second."""
    source = torch.Generator().manual_seed(0)
    frames = round(seconds * FPS)
    feet = 0.01 * torch.randn((batch, frames, 2, 3), generator=source, dtype=torch.float64).cumsum(dim=1)
    valid = torch.ones(batch, frames, dtype=torch.bool)
    speed = torch.randn((batch, frames - 1, JOINTS), generator=source, dtype=torch.float64).cumsum(dim=1).sin().abs()
    beats = motion_beats(speed, valid[:, 1:], order=3)
    onsets = seconds * torch.rand((batch, round(3 * seconds)), generator=source, dtype=torch.float64)
    ours: dict[str, Callable[[], Tensor]] = {
        "foot skating": lambda: skating(feet, valid, FPS, up=1),
        "beat consistency": lambda: beat_consistency(beats, onsets, FPS)[0],
    }
    theirs: dict[str, Callable[[], np.ndarray]] = {
        "foot skating": lambda: loop_skating(feet.numpy()),
        "beat consistency": lambda: loop_beats(beats.numpy(), onsets.numpy()),
    }
    table = Table("metric", "loop, ms", "ours, ms", "faster by", "largest difference")
    for name, run in ours.items():
        difference = float(np.abs(run().numpy() - theirs[name]()).max())
        slow, fast = median_ms(theirs[name], 1), median_ms(run, repeats)
        table.add_row(name, f"{slow:.1f}", f"{fast:.3f}", f"{slow / fast:.0f} x", f"{difference:.1e}")
    return table


def body() -> MotionLayout:
    """55 joints as deep as SMPL-X: legs, spine, head with jaw and eyes, arms, five fingers of three joints each."""
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
    for wrist in (20, 21):
        for _ in range(5):
            parents += [wrist, len(parents), len(parents) + 1]
    offsets = torch.randn((len(parents), 3), generator=torch.Generator().manual_seed(0)) / 10
    skeleton = {
        "names": [str(joint) for joint in range(len(parents))],
        "parents": parents,
        "offsets": offsets.tolist(),
        "up": "y",
    }
    size = 3 * len(parents) + 3
    features = {"kind": "axis_angle", "joints": len(parents), "root": True, "size": size, "fps": FPS}
    return MotionLayout(skeleton, features)


def kinematics(batch: int, frames: int, hidden: int, layers: int, repeats: int, device: str) -> Table:
    """Decoding, and a step of training without it."""
    layout = body().to(device)
    motion = torch.randn(batch, frames, layout.size, device=device)
    block = nn.TransformerEncoderLayer(hidden, max(hidden // 64, 1), 4 * hidden, 0.0, batch_first=True, device=device)
    network = nn.Sequential(
        nn.Linear(layout.size, hidden, device=device),
        nn.TransformerEncoder(block, layers, enable_nested_tensor=False),
        nn.Linear(hidden, layout.size, device=device),
    )
    optimizer = torch.optim.AdamW(network.parameters())

    def decode() -> None:
        guess = motion.clone().requires_grad_()
        layout.positions(guess).square().mean().backward()

    def decode_truth() -> None:
        with torch.no_grad():
            layout.positions(motion)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = (network(motion) - motion).square().mean()
        loss.backward()
        optimizer.step()

    table = Table(f"batch {batch} x {frames} frames", "forward and backward, ms", "share")
    whole = median_ms(step, max(repeats // 20, 1), device)
    share = median_ms(decode, max(repeats // 10, 3), device)
    truth = median_ms(decode_truth, max(repeats // 10, 3), device)
    table.add_row(f"step, {layers} layers of {hidden}", f"{whole:.1f}", "")
    table.add_row(f"{layout.joints} joints of the prediction", f"{share:.1f}", f"{share / whole:.1%}")
    table.add_row(f"{layout.joints} joints of the truth, forward alone", f"{truth:.1f}", f"{truth / whole:.1%}")
    return table


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="clips")
    parser.add_argument("--frames", type=int, default=196, help="of each clip, for kinematics")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each clip, for metrics")
    parser.add_argument("--hidden", type=int, default=512, help="width of the denoiser")
    parser.add_argument("--layers", type=int, default=8, help="of the denoiser")
    parser.add_argument("--repeats", type=int, default=20, help="behind each median")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="for kinematics")
    parser.add_argument("--skip-kinematics", action="store_true", help="the first table alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    console.print(f"torch {torch.__version__}, one thread; {arguments.batch} clips of {arguments.seconds:g} s")
    console.print(metrics(arguments.batch, arguments.seconds, arguments.repeats))
    if not arguments.skip_kinematics:
        sizes = (arguments.batch, arguments.frames, arguments.hidden, arguments.layers, arguments.repeats)
        console.print(kinematics(*sizes, arguments.device))


if __name__ == "__main__":
    main()
