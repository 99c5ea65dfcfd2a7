"""The resolved config of a run, kept in its folder and sent to every logger."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger


class SaveResolvedConfig(SaveConfigCallback):
    """Writes ``config.yaml``; a resumed run that differs writes ``config_resumed_1.yaml`` and so on beside it."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write and send, once a fit."""
        if stage != "fit" or not trainer.log_dir:
            return
        text = self.parser.dump(self.config, skip_none=False)
        folder = Path(trainer.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(folder.glob("config*.yaml"))
        if all(path.read_text() != text for path in earlier):
            name = f"config_resumed_{len(earlier)}.yaml" if earlier else "config.yaml"
            (folder / name).write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{text}\n```")
            else:
                logger.log_hyperparams({"config": text})
