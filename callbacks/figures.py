"""Pictures that a module or a datamodule can draw, kept in the run folder and sent to the loggers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from matplotlib.figure import Figure

from litmotif.files import write_atomically

from .pictures import to_png


class Figures(Callback):
    """Asks the module and the datamodule for ``figures() -> dict[str, Figure]`` and saves each as ``NAME.png``.

    Args:
        every_n_epochs: also after the validation of every n-th epoch; None only at the end of a test.
        dpi: dots an inch.
    """

    def __init__(self, every_n_epochs: int | None = None, dpi: int = 110) -> None:
        self.every_n_epochs, self.dpi = every_n_epochs, dpi

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw on the way, and after a ``validate`` of its own."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if trainer.state.fn == "validate" or (due and not trainer.sanity_checking):
            self._draw(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the final state."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asks all processes, so it must not stand behind a condition on the rank
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False) or not folder:
            return
        for owner in (pl_module, getattr(trainer, "datamodule", None)):
            draw: Callable[[], dict[str, Figure]] = getattr(owner, "figures", dict)
            for name, figure in draw().items():
                self._save(Path(folder) / f"{name}.png", figure)
                for logger in trainer.loggers:
                    _send(logger, name, figure, trainer.global_step)

    def _save(self, path: Path, figure: Figure) -> None:
        try:
            write_atomically(path, to_png(figure, self.dpi))
        except OSError as error:
            rank_zero_warn(f"Figures cannot write {path}: {error}")


def _send(logger: Any, name: str, figure: Any, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, step, close=False)
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [figure], step=step)
