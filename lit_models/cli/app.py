"""Lightning CLI: Lightning's, with our configs, run folder and rules of resuming."""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden

from datamodules.core import BaseDataModule

from ..core.checkpoint import read
from ..core.module import BaseModule
from ..core.sharding import FSDP2Strategy
from ..plugins.checkpoint_io import AtomicCheckpointIO
from ..plugins.loggers import fault_tolerant
from ..plugins.slurm_environment import MeetingSLURMEnvironment
from . import resume, run_claim, run_folder
from .links import links_of
from .package_paths import PACKAGES
from .parser import HintingParser
from .save_config import SaveResolvedConfig
from .source_location import location_of


class Request(NamedTuple):
    """What the user typed.

    Attributes:
        arguments: for the parser: subcommand, configs, overrides.
        overrides: what stands on the command line besides configs.
        name: of the experiment; its runs lie in ``runs/NAME``.
        artifacts: told what the run leaves, for the report of a failure.
    """

    arguments: list[str]
    overrides: list[str]
    name: str
    artifacts: run_folder.RunArtifacts


def import_public() -> None:
    """Import every public class, and register our strategy, so that a config may name them shortly."""
    for package in PACKAGES:
        for name in import_module(package).__all__:
            resolve_name(f"{package}:{name}")
    if "fsdp2" not in StrategyRegistry.available_strategies():
        StrategyRegistry.register("fsdp2", FSDP2Strategy, "shards over all processes; whole checkpoints")


class LitmotifCLI(LightningCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` over any of our modules and datamodules.

    Args:
        request: what the user typed.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.checkpoint: Path | None = None
        self.checkpoint_io = AtomicCheckpointIO()
        import_public()
        super().__init__(
            BaseModule,
            BaseDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=SaveResolvedConfig,
            parser_class=HintingParser,
            parser_kwargs={"prog": "litmotif", "allow_abbrev": False},  # a shortened key would pass for another one
            load_from_checkpoint_support=False,  # it would save links that the module does not have; ours saves its own
            args=request.arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own option and the links between data and module."""
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the best checkpoint after fit.")
        for part in ("model", "data"):
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        for name in links_of(self.request.arguments):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    # ------------------------------------------------------------------ before anything is made
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, then let the checkpoint have its say where the command line is silent."""
        self.config = parser.parse_args(self.request.arguments)
        subcommand = self.config["subcommand"]
        config = self.config[subcommand]
        linked = set(resolve_name(config["data"]["class_path"]).links)
        sources = {f"model.{name}": f"the data (data.{name})" for name in linked}
        sources |= {f"{part}.seed": "seed_everything" for part in ("model", "data")}
        for key, source in sources.items():
            if where := location_of(key, HintingParser.files, HintingParser.overrides):
                parser.error(f"{where}: {key} comes from {source}: set that, or leave it out.")
        which, config["ckpt_path"] = config.get("ckpt_path"), None  # Lightning would let it beat the command line
        if subcommand == "fit":
            which = run_folder.of_requeued_job(self._root()) or which
        if which is not None:
            preferred = ("last", "best") if subcommand == "fit" else ("best", "last")
            self.checkpoint = self.checkpoint_io.intact(run_folder.find_checkpoint(str(which), self._root(), preferred))
            resume.reconcile(config, read(self.checkpoint), self.checkpoint, self.request.overrides, linked)
        elif subcommand != "fit":
            untrained = f"litmotif: {subcommand} without --ckpt_path: these are the weights before any training."
            rank_zero_only(print)(untrained, file=sys.stderr)

    def _root(self) -> Path:
        given = self.config[self.config["subcommand"]]["trainer"].get("default_root_dir")
        return Path(given) if given else Path("runs") / self.request.name

    def before_instantiate_classes(self) -> None:
        """Keep the config as it was asked for, then claim a run folder and write it in."""
        config, artifacts = self.config[self.subcommand], self.request.artifacts
        fits, dry = self.subcommand == "fit", bool(config["trainer"].get("fast_dev_run"))
        folder = artifacts.folder = run_claim.claim(self._root(), self.checkpoint, str(self.subcommand), dry)
        if fits and not dry and run_claim.is_first_process():
            artifacts.hold = run_claim.Hold(folder)
        asked = config.clone()
        asked["ckpt_path"] = None if fits or self.checkpoint is None else str(self.checkpoint)
        self.save_config_kwargs |= {"asked": asked, "folder": folder}
        config["ckpt_path"] = str(self.checkpoint) if self.checkpoint else None
        config["weights_only"] = True
        evaluated = self.checkpoint.parent if self.checkpoint and not fits else None
        run_folder.place(config["trainer"], folder, evaluated)
        for logger in run_folder.configured(config["trainer"].get("logger")):
            logger["class_path"] = fault_tolerant(logger["class_path"])
        if fits and not dry:
            rank_zero_only(run_folder.keep_metrics)(folder)
            rank_zero_only(run_folder.record_job)(folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add atomic checkpoints, where one process writes them, and the cluster that this process runs on."""
        given = self.config_init[self.subcommand]["trainer"]
        plugins = given["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if str(given["strategy"]).startswith(("auto", "ddp", "fsdp2")):
            plugins = [*plugins, self.checkpoint_io]
            self.request.artifacts.unsaved = self.checkpoint_io.unsaved
        cluster = MeetingSLURMEnvironment() if SLURMEnvironment.detect() else None
        trainer = super().instantiate_trainer(**kwargs, plugins=[*plugins, *([cluster] if cluster else [])])
        if cluster and trainer.world_size > 1:
            cluster.expect_all()
        return trainer

    # ------------------------------------------------------------------ around the run
    def after_fit(self) -> None:
        """Test what was learned, unless told otherwise, stopped, without a test, or what lies there is older."""
        testable = is_overridden("test_step", self.model) and is_overridden("test_dataloader", self.datamodule)
        if self.trainer.interrupted or not testable or not self.config["fit"]["test_after_fit"]:
            return
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        weights = best if Path(best).is_file() else None
        if self.trainer.strategy.broadcast(Path(best).absolute() in self.checkpoint_io.unsaved):
            rank_zero_only(print)(f"litmotif: not tested: {best} could not be saved.", file=sys.stderr)
            return
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=weights, weights_only=True, verbose=False)

    def predict(self, model: BaseModule, **options: Any) -> None:
        """Predict, and keep what comes out: ``predictions.pt``, one a process."""
        predictions = self.trainer.predict(model, **options)
        folder = self.request.artifacts.folder
        if predictions is not None and folder is not None and not self.config["predict"]["trainer"]["fast_dev_run"]:
            folder, rank = self.trainer.strategy.broadcast(folder), self.trainer.global_rank
            torch.save(predictions, folder / f"predictions{f'_{rank}' if self.trainer.world_size > 1 else ''}.pt")
