"""Loggers whose disk is full, or whose folder cannot be written, lose records, not the run."""

import contextlib
import csv
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_warn

METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize")


def spare(logger: Logger) -> None:
    """Have a logger warn, once, where it would raise what the operating system says about its files."""
    told: list[str] = []

    def spared(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                if isinstance(logger, CSVLogger):
                    _rewrite_beside(logger.experiment)
                return method(*args, **kwargs)
            except Exception as error:
                refusal = _of_the_system(error)
                if refusal is None:
                    raise
                if isinstance(logger, CSVLogger):
                    with contextlib.suppress(OSError):
                        cut_unfinished_line(Path(logger.experiment.metrics_file_path))
                if not told:
                    told.append(str(refusal))
                    rank_zero_warn(f"{type(logger).__name__} cannot write ({refusal}); training goes on without it.")

        return call

    for name in METHODS:
        setattr(logger, name, spared(getattr(logger, name)))


def _of_the_system(error: BaseException | None) -> OSError | None:
    """The ``OSError`` behind an error: TensorBoardLogger puts its own in front."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error


def cut_unfinished_line(path: Path) -> None:
    """Leave whole lines: a number that was written in part looks like another number."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
    if not whole:
        path.unlink()  # its next writer begins with the names of the columns


def _rewrite_beside(experiment: Any) -> None:
    """Have CSVLogger add columns in a file beside its own, then renamed: it would empty its own first."""
    if "_rewrite_with_new_header" in vars(experiment):
        return

    def rewrite(names: list[str]) -> None:
        path = Path(experiment.metrics_file_path)
        partial = path.with_name(f".{path.name}.partial")
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            records, before = list(rows), list(rows.fieldnames or ())
        try:
            with partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(records)
            partial.replace(path)
        except OSError:
            experiment.metrics_keys = before  # those that the file has
            raise
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    experiment._rewrite_with_new_header = rewrite
