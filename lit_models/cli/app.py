"""Lightning CLI: Lightning's, with our configs, run folder and rules of resuming."""

import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden

from ..core.checkpoint import read
from ..plugins.callbacks import patient
from ..plugins.checkpoint_io import AtomicCheckpointIO
from ..plugins.loggers import fault_tolerant
from ..plugins.slurm_environment import MeetingSLURMEnvironment
from . import resume, run_claim, run_folder, trust
from .linked import LinkedCLI, seed_of
from .links import declared
from .null_options import as_mappings, group_names
from .parser import HintingParser
from .refusals import refusal, require_library
from .save_config import SaveResolvedConfig
from .source_location import location_of


class Request(NamedTuple):
    """What the user typed.

    Attributes:
        arguments: for the parser: subcommand, configs, overrides.
        overrides: what stands on the command line besides configs.
        name: of the experiment; its runs lie in ``runs/NAME``.
        artifacts: told what the run leaves, for the report of a failure.
        trusting: the classes and functions that it names, whosever they are.
    """

    arguments: list[str]
    overrides: list[str]
    name: str
    artifacts: run_folder.RunArtifacts
    trusting: bool = False


class LitmotifCLI(LinkedCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` over our modules and datamodules, and any of Lightning's.

    Args:
        request: what the user typed.
    """

    def __init__(self, request: Request) -> None:
        self.checkpoint: Path | None = None
        self.checkpoint_io = AtomicCheckpointIO()
        self.request = request._replace(arguments=as_mappings(request.arguments, group_names()))
        super().__init__(
            save_config_callback=SaveResolvedConfig,
            parser_class=HintingParser,
            parser_kwargs={"prog": "litmotif", "allow_abbrev": False},  # a shortened key would pass for another one
            args=self.request.arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own options and the links between data and module."""
        parser.add_argument(
            "--name", type=str | None, default=None, help="Of the experiment: its runs lie in runs/NAME."
        )
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the best checkpoint after fit.")
        super().add_arguments_to_parser(parser)

    # ------------------------------------------------------------------ before anything is made
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, then let the checkpoint have its say where the command line is silent."""
        self.config = parser.parse_args(self.request.arguments)
        subcommand = self.config["subcommand"]
        config = self.config[subcommand]
        config["seed_everything"] = seed_of(config["seed_everything"])
        data = config.get("data")
        linked = set(declared(resolve_name(data["class_path"]))) if data else set()
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
        if not self.request.trusting:
            trust.require_plain_options(config)

    def _root(self) -> Path:
        config = self.config[self.config["subcommand"]]
        return run_folder.root(config["trainer"], config.get("name"), self.request.name)

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
            require_library(logger["class_path"])
            logger["class_path"] = fault_tolerant(logger["class_path"])
        for callback in run_folder.configured(config["trainer"].get("callbacks")):
            callback["class_path"] = patient(callback["class_path"])
        if fits and not dry:
            rank_zero_only(run_folder.keep_metrics)(folder)
            rank_zero_only(run_folder.record_job)(folder)

    def instantiate_classes(self) -> None:
        """Build the data, the module and the trainer; what cannot be built is named with the options that it was given.

        Raises:
            RequestError: a constructor has failed.
        """
        try:
            super().instantiate_classes()
        except Exception as error:
            self._refuse("", error)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add atomic checkpoints, where one process writes them, and the cluster that this process runs on."""
        given = self.config_init[self.subcommand]["trainer"]
        plugins = given["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if str(given["strategy"]).startswith(("auto", "ddp", "fsdp2")):
            plugins = [*plugins, self.checkpoint_io]
            self.request.artifacts.unsaved = self.checkpoint_io.unsaved
        cluster = MeetingSLURMEnvironment() if SLURMEnvironment.detect() else None
        try:
            trainer = super().instantiate_trainer(**kwargs, plugins=[*plugins, *([cluster] if cluster else [])])
        except Exception as error:  # what the constructor refuses is a setting of the user's
            self._refuse("trainer", error)
        if cluster and trainer.world_size > 1:
            cluster.expect_all()
        return trainer

    def _refuse(self, part: str, error: Exception) -> NoReturn:
        refused = refusal(part, error, self.request.overrides)
        if refused is error:
            raise error
        raise refused from error

    # ------------------------------------------------------------------ around the run
    def after_fit(self) -> None:
        """Test what was learned, unless told otherwise, stopped, without a test, or what lies there is older."""
        tests = (owner for owner in (self.datamodule, self.model) if owner is not None)
        testable = is_overridden("test_step", self.model) and any(is_overridden("test_dataloader", o) for o in tests)
        if self.trainer.interrupted or not testable or not self.config["fit"]["test_after_fit"]:
            return
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        weights = best if Path(best).is_file() else None
        if self.trainer.strategy.broadcast(Path(best).absolute() in self.checkpoint_io.unsaved):
            rank_zero_only(print)(f"litmotif: not tested: {best} could not be saved.", file=sys.stderr)
            return
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=weights, weights_only=True, verbose=False)

    def predict(self, model: LightningModule, **options: Any) -> None:
        """Predict, and keep what comes out: ``predictions.pt``, one a process."""
        predictions = self.trainer.predict(model, **options)
        folder = self.request.artifacts.folder
        if predictions is not None and folder is not None and not self.config["predict"]["trainer"]["fast_dev_run"]:
            folder, rank = self.trainer.strategy.broadcast(folder), self.trainer.global_rank
            torch.save(predictions, folder / f"predictions{f'_{rank}' if self.trainer.world_size > 1 else ''}.pt")
