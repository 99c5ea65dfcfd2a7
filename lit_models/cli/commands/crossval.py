"""Cross-validation: ``litmotif crossval``, k runs on k folds of the data and what an unseen song can expect."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from callbacks.results import Results, ResultsTable, collect
from litmotif.files import atomic
from litmotif.intervals import mean
from litmotif.names import BOUNDS

from .. import configs
from ..errors import RequestError
from ..run import resolved_config
from ..run_claim import newest
from ..tables import console
from .frame import CommandParser, config_tokens
from .run_queue import RESERVED, QueueCommand, RunQueue, RunSpec, exit_status
from .run_summary import test_results, write_json
from .trained_run import TrainedRun, public_modules

POOLED = "the test parts of all {} folds together: each item judged by the model that has not seen it"
TITLE = "{} folds: mean [95 % of the mean], its standard error, means of the baselines"


class Crossval(QueueCommand):
    """Trains and judges k folds; the datamodule splits, by song or whatever it holds."""

    reserved = RESERVED | dict.fromkeys(("--data.folds", "--data.fold"), "the command sets it; give --folds.")

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Config and number of folds."""
        super().add_arguments(parser, arguments)
        parser.add_argument("--folds", type=int, default=5, help="k, at least 2")
        parser.add_argument("--predict", type=bool, default=True, help="keep the predictions of each fold's test part")

    def run(self, options: Namespace) -> int:
        """Train what is not done, average, predict, show."""
        k = options.folds
        if k < 2:
            raise RequestError(f"--folds {k}: at least 2.")
        if not options.config:
            raise RequestError("no config: name one with -c.")
        data = resolved_config([*config_tokens(options.config), *options.overrides])["data"]
        if not {"folds", "fold"} <= data["init_args"].keys():
            raise RequestError(
                f"{data['class_path']} has no parameters `folds` and `fold`, so it cannot be cross-validated. "
                "Give its constructor both: with folds=k, fold i of k is the test part, the rest is for training."
            )
        home = Path(options.out) / configs.experiment_name(options.config) / f"folds_{k}"
        specs = []
        for i in range(k):
            overrides = (*options.overrides, "--data.folds", str(k), "--data.fold", str(i))
            specs.append(RunSpec(f"fold {i}", tuple(options.config), overrides, home / f"fold_{i}"))
        queue = RunQueue(specs, home / "folds.json", self.runner)
        if failed := queue.train(options.again):
            return exit_status(failed)
        found = {spec.name: test_results(run) for spec in specs if (run := queue.folder(spec))}
        across = over_folds(list(found.values()))
        together = _pooled(queue)
        write_json(home / "crossval.json", {"mean": across, "pooled": together, **found})
        status = _predict(queue, home) if options.predict else 0
        if across:
            console().print(ResultsTable().table(across, TITLE.format(k)))
        if together:
            console().print(ResultsTable().table(together, POOLED.format(k)))
        return status


def _pooled(queue: RunQueue) -> Results:
    """Results over the test parts of all folds together; nothing where the module has no ``pooled``."""
    best = [run / "checkpoints" / "best.ckpt" for spec in queue.specs if (run := queue.folder(spec))]
    runs = [TrainedRun(file) for file in best if file.is_file()]
    if len(runs) < len(queue.specs) or runs[0].content.get("litmotif", {}).get("class") not in public_modules("pooled"):
        return {}
    found = runs[0].module.pooled((run.module.cpu(), run.datamodule().test_dataloader()) for run in runs)
    return collect({f"test/{name}": float(value) for name, value in found.items()}, "test")


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
def _predict(queue: RunQueue, home: Path) -> int:
    runs = {spec.name: run for spec in queue.specs if (run := queue.folder(spec))}
    best = {name: run / "checkpoints" / "best.ckpt" for name, run in runs.items()}
    stale = {name: file for name, file in best.items() if not _newer(predictions_of(runs[name]), file)}
    if failed := queue.evaluate("predict", stale):
        return exit_status(failed)
    path = home / "predictions.pt"
    rows = [row for fold, file in enumerate(best.values()) for row in held_out(TrainedRun(file), fold)]
    with atomic(path) as file:
        torch.save(rows, file)
    print(f"out-of-fold predictions of {len(rows)} rows: {path}")
    return 0


def predictions_of(run: Path) -> Path:
    """The newest predictions of a run."""
    return newest(run, "predict", "predictions.pt")


def _newer(file: Path, other: Path) -> bool:
    return file.is_file() and file.stat().st_mtime >= other.stat().st_mtime


def held_out(run: TrainedRun, fold: int) -> list[dict[str, Any]]:
    """The predictions of a run's test part, one dictionary a row of its batches, in their order.

    Each has ``fold``, ``song`` (its name where the datamodule has ``songs_of(split)``, else its place in the split) and
    ``prediction``, and ``target`` and ``mask`` where the batch has them. All are cut to the frames that exist.
    """
    data = run.datamodule()
    data.prepare_data()
    data.setup("predict")
    loader = data.predict_dataloader() if hasattr(data, "predict_dataloader") else data.test_dataloader()
    names = data.songs_of("test") if hasattr(data, "songs_of") else None
    predictions = torch.load(predictions_of(run.folder), weights_only=True)
    rows: list[dict[str, Any]] = []
    for batch, prediction in zip(loader, predictions, strict=True):
        places = getattr(batch, "song", torch.arange(len(rows), len(rows) + len(prediction))).tolist()
        masks = getattr(batch, "mask", [None] * len(prediction))
        for row, (place, mask) in enumerate(zip(places, masks, strict=True)):
            parts = {"prediction": prediction[row]}
            if mask is not None and mask.any():
                frames = int(mask.reshape(len(mask), -1).any(dim=1).nonzero().max()) + 1
                whole = parts | {"target": batch.targets[row], "mask": mask}
                parts = {name: part[:frames] for name, part in whole.items()}
            copied = {name: part.clone() for name, part in parts.items()}  # a view would be saved with all of its batch
            rows.append({"fold": fold, "song": names[place] if names else place, **copied})
    return rows
