"""Lightning's callbacks where a run leaves the path that they expect: a second checkpoint, no validation, no logger."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import callbacks as theirs
from lightning.pytorch.utilities import rank_zero_warn

from litmotif.errors import ArgumentError

SHIPPED = ("best", "last")
"""File names of the checkpoints of ``configs/defaults.yaml``; their state keeps the key that Lightning gives it."""


def _same_name(name: str, known: Mapping[str, Any]) -> str | None:
    """The spelling of ``name`` that is known, ``val/loss`` or ``val_loss``; None where neither is."""
    spellings = (name, name.replace("/", "_"), name.replace("_", "/", 1))
    return next((spelling for spelling in spellings if spelling in known), None)


class DistinctModelCheckpoint(theirs.ModelCheckpoint):
    """Lightning's, of which a run may have several that follow the same metric.

    ``best.ckpt`` follows ``val_loss`` where a module logs that instead of ``val/loss``, and is not kept, with a
    warning, where it logs neither.
    """

    idle = False
    """Nothing that it follows is logged."""

    @cached_property
    def state_key(self) -> str:
        """Lightning's own, for the checkpoints that are not shipped with what tells them apart."""
        key = "ModelCheckpoint" + super().state_key.removeprefix(type(self).__qualname__)
        settings = (self.filename, self.save_top_k, self.save_last, self.save_weights_only)
        return key if self.filename in SHIPPED else f"{key}{settings}"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look what is logged, then save where it is time to."""
        if not trainer.sanity_checking and self.monitor is not None and trainer.state.fn == "fit":
            known = _same_name(self.monitor, trainer.callback_metrics)
            if known is not None:
                self.monitor = known
            elif self.filename == SHIPPED[0] and not self.idle:
                self.idle = True
                names = sorted(trainer.callback_metrics)
                rank_zero_warn(
                    f"best.ckpt is not kept, for {type(pl_module).__name__} does not log {self.monitor!r}; last.ckpt "
                    f"is. It logs {names}: add a ModelCheckpoint of your own under trainer.callbacks+."
                )
        if not self.idle:
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where it is time to."""
        if not self.idle:
            super().on_train_epoch_end(trainer, pl_module)


class PatientEarlyStopping(theirs.EarlyStopping):
    """Lightning's, which waits for the first validation, and says which metrics there are where its own is missing.

    Raises:
        ArgumentError: a validation has not logged what it follows, and it is ``strict``.
    """

    validated = False

    @cached_property
    def state_key(self) -> str:
        """Lightning's own."""
        return "EarlyStopping" + super().state_key.removeprefix(type(self).__qualname__)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Decide after each validation where these go by the clock, of which Lightning's own knows nothing."""
        if hasattr(trainer, "val_check_interval"):
            super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin without a validation."""
        self.validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where there will be none."""
        if self.monitor.startswith("val") and not sum(trainer.num_val_batches):
            rank_zero_warn(f"EarlyStopping rests: {self.monitor!r} is of a validation, and this run has none.")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note, then decide where it is time to."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validated = True
        if self._is_logged(trainer):
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide where it is time to."""
        if self._is_logged(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def _is_logged(self, trainer: Trainer) -> bool:
        known = trainer.callback_metrics
        if self.monitor in known:
            return True
        if self.validated and self.strict:
            names = ", ".join(sorted(known)) or "nothing"
            raise ArgumentError(
                f"EarlyStopping follows monitor={self.monitor!r}, which no validation logs.", f"Logged is: {names}."
            )
        return False


OURS = {"ModelCheckpoint": DistinctModelCheckpoint, "EarlyStopping": PatientEarlyStopping}


def patient(class_path: str) -> str:
    """The class path of a config's callback, or of the one above where it is Lightning's own."""
    package, _, name = class_path.rpartition(".")
    ours = OURS.get(name) if package.startswith("lightning.pytorch.callbacks") else None
    return f"{__name__}.{ours.__name__}" if ours else class_path
