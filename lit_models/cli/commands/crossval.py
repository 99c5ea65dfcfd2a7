"""``litmotif crossval``: k runs on k folds of the data, then what a song can expect that no training has seen."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from callbacks.results import BOUNDS, Results, ResultsTable
from litmotif.files import write_atomically
from litmotif.intervals import mean

from .. import configs, ending
from ..console import console
from . import child
from .members import STOPPED, Member, Record, train
from .options import OptionsParser, refuse
from .outcome import as_json, results
from .runs import class_of, data_of, takes
from .series import SET_HERE


def command(arguments: list[str], runner: child.Runner = child.run) -> int:
    """Carry out ``litmotif crossval``.

    Args:
        arguments: what follows the command.
        runner: carries out one run.

    Returns:
        The exit status: 0; 1 where a fold failed; 2 for a wrong request; 130 or 143 after a stop.
    """
    parser = OptionsParser("crossval", "Train and judge k folds; the datamodule splits, by song or whatever it holds.")
    parser.add_configs()
    parser.add_argument("--folds", type=int, default=5, help="k, at least 2")
    parser.add_argument("--out", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--again", action="store_true", help="train anew also the folds that are done")
    parser.add_argument("--predict", type=bool, default=True, help="keep the predictions of each fold's test part")
    try:
        options, overrides = parser.take(arguments)
        taken = SET_HERE | {f"--data.{key}": "the command sets it; give --folds." for key in ("folds", "fold")}
        refuse(parser, overrides, taken)
        if options.folds < 2:
            parser.error(f"--folds {options.folds}: at least 2.")
        data = class_of("data", options.config, overrides)
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    except SystemExit as leaving:
        return int(leaving.code or 0)
    if not takes(data, "folds", "fold"):
        print(
            f"litmotif: {data.__name__} has no parameters `folds` and `fold`, so it cannot be cross-validated. "
            "Give its constructor both: with folds=k, fold i of k is the test part, the rest is for training.",
            file=sys.stderr,
        )
        return 2
    home = Path(options.out) / configs.experiment_name(options.config) / f"folds_{options.folds}"
    members = folds(options.config, overrides, options.folds, home)
    return _carry_out(members, home, runner, options.again, options.predict)


def folds(requested: Sequence[str], overrides: Sequence[str], k: int, home: Path) -> list[Member]:
    """One member a fold."""
    return [
        Member(
            f"fold {i}",
            tuple(requested),
            (*overrides, "--data.folds", str(k), "--data.fold", str(i)),
            home / f"fold_{i}",
        )
        for i in range(k)
    ]


def _carry_out(members: list[Member], home: Path, runner: child.Runner, again: bool, predict: bool) -> int:
    record = Record(home / "folds.json")
    status = train(members, record, runner, again)
    if status in STOPPED:
        print("litmotif: stopped. The same command goes on where it was.", file=sys.stderr)
        return status
    if status:
        failed = [member.name for member in members if not record.done(member)]
        print(f"litmotif: failed: {', '.join(failed)}. The same command tries them again.", file=sys.stderr)
        return status
    runs = [run for member in members if (run := record.run(member))]
    across = over_folds([results(run) for run in runs])
    title = f"{len(runs)} folds: mean [95 % of the mean], its standard error, means of the baselines"
    per_fold = {member.name: results(run) for member, run in zip(members, runs, strict=True)}
    write_atomically(home / "crossval.json", as_json({"mean": across, **per_fold}))
    status = _predict(members, runs, home, runner) if predict else 0
    if across:
        console().print(ResultsTable().table(across, title))
    return status


def over_folds(found: Sequence[Results]) -> Results:
    """Mean over folds of each metric and of each of its baselines.

    ``low`` and ``high`` bound the mean by Student's t with k - 1 degrees of freedom. Folds share training data, so the
    interval is somewhat too narrow: no unbiased one exists (Bengio & Grandvalet, JMLR 5, 2004).
    """
    across: Results = {}
    for name in found[0]:
        of_folds = [rows[name] for rows in found if name in rows]
        if len(of_folds) < len(found):
            continue  # not every fold has it: its mean would be of others
        across[name] = mean("value", [rows["value"] for rows in of_folds])
        for row in of_folds[0]:
            if row not in ("value", *BOUNDS) and all(row in rows for rows in of_folds):
                across[name][row] = mean(row, [rows[row] for rows in of_folds])[row]
    return across


# ---------------------------------------------------------------------- predictions of what was not trained on
def _predict(members: Sequence[Member], runs: Sequence[Path], home: Path, runner: child.Runner) -> int:
    for member, run in zip(members, runs, strict=True):
        best = run / "checkpoints" / "best.ckpt"
        kept = run / "predictions.pt"
        if kept.is_file() and kept.stat().st_mtime >= best.stat().st_mtime:
            continue
        status = runner(member.request("predict", best))
        if status:
            print(f"litmotif: {member.name}: predict ended with status {status}.", file=sys.stderr)
            return status if status in STOPPED else ending.FAILED
    path = home / "predictions.pt"
    rows = [row for fold, run in enumerate(runs) for row in pooled(run, fold)]
    partial = path.with_name(f".{path.name}.partial")
    torch.save(rows, partial)
    partial.replace(path)
    print(f"out-of-fold predictions of {len(rows)} rows: {path}")
    return 0


def pooled(run: Path, fold: int) -> list[dict[str, Any]]:
    """The predictions of a run's test part, one dictionary a row of its batches, in their order.

    Each has ``fold``, ``song`` (its name where the datamodule has ``songs_of(split)``, else its place in the split) and
    ``prediction``, and ``target`` and ``mask`` where the batch has them. All are cut to the frames that exist.
    """
    data = data_of(run)
    data.prepare_data()
    data.setup("predict")
    loader = data.predict_dataloader() if hasattr(data, "predict_dataloader") else data.test_dataloader()
    names = data.songs_of("test") if hasattr(data, "songs_of") else None
    predictions = torch.load(run / "predictions.pt", weights_only=True)
    rows: list[dict[str, Any]] = []
    for batch, prediction in zip(loader, predictions, strict=True):
        count = len(prediction)
        song = getattr(batch, "song", torch.arange(len(rows), len(rows) + count))
        for row in range(count):
            place = int(song[row])
            mask = batch.mask[row] if hasattr(batch, "mask") else None
            frames = int(mask.reshape(len(mask), -1).any(dim=1).nonzero().max() + 1) if mask is not None else None
            parts = {"prediction": prediction[row][:frames]} if frames else {"prediction": prediction[row]}
            if frames and mask is not None:
                parts |= {"target": batch.targets[row][:frames].clone(), "mask": mask[:frames].clone()}
            parts["prediction"] = parts["prediction"].clone()
            rows.append({"fold": fold, "song": names[place] if names else place, **parts})
    return rows
