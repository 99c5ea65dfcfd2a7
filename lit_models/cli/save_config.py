"""Resolved config of a run, kept in its folder and sent to every logger."""

from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from litmotif.files import write_atomically


class SaveResolvedConfig(SaveConfigCallback):
    """Writes ``config.yaml``; a resumed run that differs writes ``config_resumed_1.yaml`` and so on beside it.

    What ``validate``, ``test`` or ``predict`` writes names the checkpoint that was evaluated.

    Args:
        parser: of the subcommand.
        config: what is instantiated, with the run folder in it.
        asked: the config before it was given a run folder, so that it makes a new run when it is used again.
        folder: of the run.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, asked: Namespace, folder: Path) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.text, self.folder = parser.dump(asked, skip_none=False), folder

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write at the start, and send that of a fit, in the first process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(self.folder.glob("config*.yaml"))
        if all(path.read_text() != self.text for path in earlier):
            name = f"config_resumed_{len(earlier)}.yaml" if earlier else "config.yaml"
            write_atomically(self.folder / name, self.text.encode())
        for logger in trainer.loggers if stage == "fit" else []:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{self.text}\n```")
            else:
                logger.log_hyperparams({"config": yaml.safe_load(self.text)})
