"""Lightning's command line, with our configs, run folder and rules of resuming."""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import callbacks as callback_package
import datamodules as datamodule_package
from datamodules.core import BaseDataModule

from ..core.checkpoint import CheckpointError, read
from ..core.module import BaseModule
from . import resume, run_folder
from .parser import HintingParser
from .save_config import SaveResolvedConfig

LIT_MODELS = import_module("..", __package__)
LINKS = ("horizon", "view_size", "words")
"""What a datamodule knows and a module must be built with; linked where both have it."""


class Request(NamedTuple):
    """What the user typed.

    Attributes:
        arguments: for Lightning's parser: subcommand, configs, overrides.
        overrides: what stands on the command line besides configs.
        name: of the experiment; its runs lie in ``runs/NAME``.
        ckpt_path: ``last``, ``best``, a path, or None.
        left: told what the run leaves, for whoever has to report a failure.
    """

    arguments: list[str]
    overrides: list[str]
    name: str
    ckpt_path: str | None
    left: run_folder.Left


def import_public() -> None:
    """Import every public class, so that a config may name it by its short name."""
    for package in (LIT_MODELS, datamodule_package, callback_package):
        for name in package.__all__:
            getattr(package, name)


class LitmotifCLI(LightningCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` over any of our modules and datamodules.

    Args:
        request: what the user typed.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.checkpoint: Path | None = None
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
            parser_kwargs={"allow_abbrev": False},  # a shortened key would pass for another one
            args=request.arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own option and the links between data and module."""
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the best checkpoint after fit.")
        for part in ("model", "data"):
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        for name in LINKS:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    # ------------------------------------------------------------------ before anything is made
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, then let the checkpoint have its say where the command line is silent."""
        self.config = parser.parse_args(self.request.arguments)
        if self.request.ckpt_path is not None:
            self.checkpoint = run_folder.find_checkpoint(self.request.ckpt_path, self._root())
            self._adopt(read(self.checkpoint))

    def _adopt(self, checkpoint: dict[str, Any]) -> None:
        config = self.config[self.config["subcommand"]]
        written = checkpoint.get("litmotif", {}).get("class")
        asked = config["model"]["class_path"].rpartition(".")[2]
        if written != asked:
            raise CheckpointError(
                f"{self.checkpoint} holds a {written or 'foreign module'}; the config asks for {asked}."
            )
        found = []
        for part, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            init_args = config[part]["init_args"]
            own = {key: value for key, value in init_args.items() if part == "data" or key not in LINKS}
            explicit = resume.explicit_keys(self.request.overrides, part)
            differ = resume.differences(part, checkpoint.get(saved, {}), own, explicit)
            if part == "model":
                resume.refuse_architecture(differ, self._model_type(asked).architecture)
            resume.adopt(differ, init_args)
            found += differ
        resume.show(found)

    @staticmethod
    def _model_type(name: str) -> type[BaseModule]:
        return getattr(LIT_MODELS, name)  # type: ignore[no-any-return]

    def _root(self) -> Path:
        given = self.config[self.config["subcommand"]]["trainer"].get("default_root_dir")
        return Path(given) if given else Path("runs") / self.request.name

    def before_instantiate_classes(self) -> None:
        """Choose the run folder and give it to the loggers."""
        config = self.config[self.subcommand]
        folder = self.request.left.folder = run_folder.choose(self._root(), self.checkpoint)
        config["trainer"]["default_root_dir"] = str(self._root())
        config["ckpt_path"] = str(self.checkpoint) if self.checkpoint else None
        config["weights_only"] = True
        loggers = config["trainer"].get("logger")
        run_folder.place_loggers([logger for logger in _as_list(loggers) if hasattr(logger, "class_path")], folder)
        if not config["trainer"].get("fast_dev_run"):
            run_folder.keep_metrics(folder)

    # ------------------------------------------------------------------ after the fit
    def after_fit(self) -> None:
        """Test what was learned, unless told otherwise or stopped."""
        if self.trainer.interrupted or not self.config["fit"]["test_after_fit"]:
            return
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        self.trainer.test(
            self.model, datamodule=self.datamodule, ckpt_path=best or None, weights_only=True, verbose=False
        )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
