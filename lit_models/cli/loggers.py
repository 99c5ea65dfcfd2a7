"""Loggers whose disk is full, or whose folder cannot be written, lose records, not the run."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_warn

METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize")


def spare(logger: Logger) -> None:
    """Have a logger warn, once, where it would raise what the operating system says about its files."""
    told: list[str] = []

    def spared(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Exception as error:
                refusal = _of_the_system(error)
                if refusal is None:
                    raise
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
