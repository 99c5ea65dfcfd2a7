"""The resolved config of a run, kept in its folder and sent to every logger."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger


class SaveResolvedConfig(SaveConfigCallback):
    """Writes ``config.yaml``; a resumed run that differs writes ``config_resumed_1.yaml`` and so on beside it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write and send at the start of a fit."""
        folder = trainer.log_dir  # asks all processes, so it must not stand behind a condition on the rank
        if stage != "fit" or folder is None or not trainer.is_global_zero:
            return
        text = self.parser.dump(self.config, skip_none=False)
        self._write(Path(folder), text)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{text}\n```")
            else:
                logger.log_hyperparams({"config": text})

    @staticmethod
    def _write(folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(folder.glob("config*.yaml"))
        if all(path.read_text() != text for path in earlier):
            name = f"config_resumed_{len(earlier)}.yaml" if earlier else "config.yaml"
            (folder / name).write_text(text)
