"""Velocity errors of a groove as they are, and where the levels that no score tells are known.

    python benchmarks/midi_levels.py --data GROOVE --runs RUN [RUN ...] [--split val]

Each row is the model of a run, and the same with the mean error of each song, then of each drum of each song, taken off
its predictions: what is left to one who knows how loud this drummer plays today. ``level alone`` plays every hit of a
drum of a song at the true mean of these.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import lit_models
from datamodules import MusicFrames
from lit_models.midi.groove import DRUMS, VELOCITY


def hits(run: Path, data: MusicFrames, split: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predicted and true velocity in 0-1 of each hit (N,), its song and its song's drum."""
    module = lit_models.load(run).eval()
    found: list[tuple[Tensor, ...]] = []
    for batch in data.val_dataloader() if split == "val" else data.test_dataloader():
        mask = batch.mask[..., VELOCITY]
        with torch.no_grad():
            both = [(values[..., VELOCITY] + 1) / 2 for values in (module(batch.inputs), batch.targets)]
        song = batch.song[:, None, None].expand(mask.shape)
        found.append(tuple(values[mask] for values in (*both, song, song * DRUMS + torch.arange(DRUMS))))
    prediction, truth, song, drum = (torch.cat(parts) for parts in zip(*found, strict=True))
    return prediction, truth, song, drum


def mean_of(values: Tensor, group: Tensor) -> Tensor:
    """Each of (N,) replaced by the mean of its group (N,)."""
    size = int(group.max()) + 1
    total = torch.zeros(size).index_add(0, group, values)
    return (total / group.bincount(minlength=size).clamp(min=1))[group]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the Groove MIDI Dataset")
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--lookahead", type=int, default=16, help="of the runs, see midi/gmd")
    options = parser.parse_args()
    task = {"lookahead": options.lookahead, "size": "full"}
    data = MusicFrames(task="groove", root=str(options.data), task_options=task, eval_batch_size=32)
    table = Table("run", "velocities", "MAE", "r", title=f"{options.split} split")
    for run in options.runs:
        prediction, truth, song, drum = hits(run, data, options.split)
        rows = {
            "of the model": prediction,
            "level of the song known": prediction + mean_of(truth - prediction, song),
            "level of its drums known": prediction + mean_of(truth - prediction, drum),
            "level alone": mean_of(truth, drum),
        }
        for name, values in rows.items():
            r = torch.corrcoef(torch.stack([values, truth]))[0, 1]
            table.add_row(str(run), name, f"{(values - truth).abs().mean():.4f}", f"{r:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
