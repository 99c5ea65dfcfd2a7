"""Fault-tolerant loggers: a full disk, or a folder that cannot be written, costs records, not the run."""

from typing import Any

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn


def _attempt(name: str) -> Any:
    """A method that calls the logger's own and takes an ``OSError``, also one behind an error of the logger's."""

    def method(self: "FaultTolerant", *args: Any, **kwargs: Any) -> None:
        try:
            getattr(super(FaultTolerant, self), name)(*args, **kwargs)
        except Exception as error:
            refusal: BaseException | None = error
            while refusal is not None and not isinstance(refusal, OSError):
                refusal = refusal.__cause__
            if refusal is None:
                raise
            if not self.warned:
                self.warned = True
                rank_zero_warn(f"{type(self).__name__} cannot write ({refusal}); training goes on without it.")

    return method


class FaultTolerant:
    """Mixin before a logger: warns, once, where it would raise what the operating system says about its files."""

    warned = False
    log_metrics = _attempt("log_metrics")
    log_hyperparams = _attempt("log_hyperparams")
    log_graph = _attempt("log_graph")
    save = _attempt("save")
    finalize = _attempt("finalize")


class FaultTolerantTensorBoardLogger(FaultTolerant, TensorBoardLogger):
    """TensorBoard, fault-tolerant."""


class FaultTolerantCSVLogger(FaultTolerant, CSVLogger):
    """``metrics.csv``, fault-tolerant."""


class FaultTolerantWandbLogger(FaultTolerant, WandbLogger):
    """Weights & Biases, fault-tolerant."""


def fault_tolerant(class_path: str) -> str:
    """The class path of a config's logger, or of the fault-tolerant one where it is Lightning's own."""
    package, _, name = class_path.rpartition(".")
    ours = f"FaultTolerant{name}"
    return f"{__name__}.{ours}" if package == "lightning.pytorch.loggers" and ours in globals() else class_path
