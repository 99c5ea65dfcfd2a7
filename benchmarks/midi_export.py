"""Exports to RTNeural: parity, bytes a parameter, broken files.

    python benchmarks/midi_export.py
    python benchmarks/midi_export.py --out FOLDER --check build/check     # and the real runtime, see docs/rtneural

The five models have their default sizes, weights as they are drawn and a normalisation; the random chains hold every
layer that can be written. "parity" is the largest difference between PyTorch over the whole sequence and the written
file, interpreted in NumPy frame by frame, in float32. No training, no data.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_chain import random_chain
from rich.console import Console
from rich.table import Table
from torch import nn

from lit_models.export.rtneural import FormatError, Report, export, read, to_rtneural, validate, verify, write
from lit_models.midi.dynamics import DynamicsEngine
from lit_models.midi.emotion import EmotionRecognizer
from lit_models.midi.groove import GroovePredictor
from lit_models.midi.harmony import HarmonyPredictor
from lit_models.midi.melody import MelodyTransformer

FIVE = (EmotionRecognizer, MelodyTransformer, HarmonyPredictor, DynamicsEngine, GroovePredictor)
BACKBONES = ("requirement", "gru", "tcn", "residual_tcn")


def five(folder: Path, frames: int) -> list[Report]:
    """Export the five models with each exportable backbone."""
    reports = []
    for kind in FIVE:
        for backbone in BACKBONES:
            torch.manual_seed(0)
            size = kind().hparams["input_size"]
            statistics = {"input_mean": torch.randn(size).tolist(), "input_std": (torch.rand(size) + 0.5).tolist()}
            module = kind(network={"backbone": backbone}, **statistics)
            for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm1d)):
                norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            reports.append(export(module, folder, f"{kind.__name__.lower()}_{backbone}", frames=frames))
    return reports


def chains(folder: Path, count: int, frames: int) -> list[Report]:
    """Export random chains, every second one with its norms kept as layers."""
    return [
        export(random_chain(seed), folder, f"chain_{seed:03}", frames=frames, seed=seed, fold_batchnorm=seed % 2 == 0)
        for seed in range(count)
    ]


def _weights(number: int, index: int, function: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        arrays = model["layers"][number]["weights"]
        arrays[index] = np.asarray(function(np.array(arrays[index]))).tolist()

    return change


def _layer(number: int, **values: Any) -> Callable[[Any], None]:
    return lambda model: model["layers"][number].update(values)


BROKEN: dict[str, Callable[[Any], Any]] = {
    "in_shape missing": lambda model: model.pop("in_shape"),
    "layers missing": lambda model: model.pop("layers"),
    "weights missing": lambda model: model["layers"][0].pop("weights"),
    "unknown layer type": _layer(0, type="attention"),
    "unknown activation": _layer(0, activation="gelu"),
    "activation in capitals": _layer(0, activation="Tanh"),
    "declared size too large": _layer(0, shape=[None, None, 7]),
    "declared size too small": _layer(0, shape=[None, None, 5]),
    "matrix not transposed": _weights(0, 0, np.transpose),
    "convolution without bias": lambda model: model["layers"][1]["weights"].pop(),
    "wrong kernel size": _layer(1, network={"kernel_size": [4]}),
    "wrong dilation": _layer(1, dilation=[0]),
    "wrong groups": _layer(1, groups=1),
    "wrong number of gates": _weights(3, 0, lambda w: w[:, :-3]),
    "NaN": _weights(0, 1, lambda b: b * np.nan),
    "chain broken": lambda model: model["layers"].pop(2),
    "ragged matrix": lambda model: model["layers"][0]["weights"][0][1].pop(),
}


def broken_files(folder: Path) -> dict[str, str]:
    """The error that each kind of broken file gives; empty where it passes for whole."""
    layers = [nn.Linear(4, 6), nn.Tanh(), nn.Conv1d(6, 4, 3, dilation=2, groups=2), nn.LSTM(4, 5), nn.GRU(5, 3)]
    found = {"no JSON": _error(lambda: read(_text(folder / "broken.json", "{")))}
    for name, damage in BROKEN.items():
        model = to_rtneural(layers, 4)
        damage(model)
        found[name] = _error(lambda model=model: validate(model))  # type: ignore[misc]
    square = random_chain(0).eval()
    export(square, folder, "broken")
    write(to_rtneural(random_chain(1, square.input_size).export_layers(), square.input_size), folder / "broken.json")
    found["another model under this sidecar"] = _error(lambda: verify(folder / "broken.sidecar.json"))
    return found


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _error(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except FormatError as error:
        return type(error).__name__
    return ""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=200)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="keep the exports here")
    parser.add_argument("--check", type=Path, help="the program of docs/rtneural, to run on them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        began = time.perf_counter()
        models, random = (
            five(folder / "five", options.frames),
            chains(folder / "chains", options.chains, options.frames),
        )
        table = Table(title=f"parity over {options.frames} frames, {time.perf_counter() - began:.0f} s")
        for column in ("model", "parameters", "bytes", "bytes a parameter", "parity"):
            table.add_column(column, justify="left" if column == "model" else "right")
        for report in models:
            each = f"{report.bytes / report.parameters:.2f}"
            table.add_row(report.name, f"{report.parameters:,}", f"{report.bytes:,}", each, f"{report.difference:.1e}")
        worst, of_all = max(report.difference for report in random), sum(report.parameters for report in random)
        table.add_row(f"{len(random)} random chains, worst", f"{of_all:,}", "", "", f"{worst:.1e}")
        console.print(table)
        found = broken_files(Path(scratch))
        for name, error in found.items():
            console.print(f"{name:36} {error or 'NOT CAUGHT'}")
        console.print(f"{sum(map(bool, found.values()))} of {len(found)} kinds of broken file caught")
        if options.check:
            for part in ("five", "chains"):
                told = subprocess.run([options.check, folder / part], capture_output=True, text=True, check=False)  # noqa: S603
                lines = told.stdout.splitlines()
                largest = max(float(line.partition("difference ")[2].split()[0]) for line in lines)
                console.print(
                    f"{options.check}, {part}: {len(lines)} models, largest difference {largest:.1e}, "
                    f"exit {told.returncode}"
                )


if __name__ == "__main__":
    main()
