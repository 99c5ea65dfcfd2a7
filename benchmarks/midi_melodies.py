"""Melodies that a trained model makes, beside the test tunes whose beginnings it was given.

    python benchmarks/midi_melodies.py --run RUN [--tunes 30] [--draws 2] [--temperatures 0.7 1]

Two bars of each tune are given and eight are made, as in `litmotif test`, of more tunes and more than once.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from lit_models.cli.commands.trained_run import TrainedRun
from lit_models.midi.generated import MelodyStatistics, fitting_scale, struck


def main() -> None:
    """Make, count, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--tunes", type=int, default=30)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0])
    options = parser.parse_args()
    run = TrainedRun.find(options.run)
    module, data = run.module, run.datamodule()
    rest, hold = (data.outputs.index(name) for name in ("rest", "hold"))
    names = ["tunes", *(f"T = {temperature:g}" for temperature in options.temperatures)]
    rows = {name: MelodyStatistics(rest, hold) for name in names}
    for place, tune in enumerate(data.tunes(options.tunes)):
        own, given = tune.own.int().argmax(dim=-1), len(tune.prompt)
        scale = fitting_scale(struck(own, rest, hold))
        rows["tunes"].update(own[given:], scale)
        for name, temperature in zip(names[1:], options.temperatures, strict=True):
            for draw in range(options.draws):
                made = module.generate(
                    tune.prompt, tune.frames, temperature, encode=tune.encode, seed=1000 * draw + place
                )
                rows[name].update(made[0, given:].int().argmax(dim=-1), scale)
    found = {name: metric.compute() for name, metric in rows.items()}
    table = Table("", *names)
    for figure in found["tunes"]:
        table.add_row(figure, *(f"{float(found[name][figure]):.3f}" for name in names))
    Console().print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
