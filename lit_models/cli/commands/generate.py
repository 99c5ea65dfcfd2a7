"""Conditional generation: ``litmotif generate``, files of what a trained model makes of a prompt."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from ...core.checkpoint import CheckpointError
from ...core.generation import Prompt
from ..errors import RequestError
from .frame import Command, CommandParser
from .trained_run import TrainedRun, public_modules


class Generate(Command):
    """Generates with any module and datamodule that keep the protocol of ``core.generation``.

    Which options there are, ``--text`` or ``--bars``, depends on the run that is named.
    """

    trained: TrainedRun

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Options of the command, of the datamodule's prompt, and of the module's ``generate``."""
        parser.add_run()
        parser.add_argument("--out", type=str | None, help="folder for the files; `made` in the run folder by default")
        parser.add_argument("--seed", type=int, default=0, help="of the draw")
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument("-c", "--config", action="append", default=[])
        finder.add_argument("--ckpt_path")
        named, _ = finder.parse_known_args(arguments)
        if not named.config and not named.ckpt_path and {"-h", "--help"} & set(arguments):
            parser.description = f"{parser.description}. With -c or --ckpt_path: also the options of that run"
            return
        self.trained = TrainedRun.find(named.ckpt_path or "best", named.config)
        module, prompt = type(self.trained.module), getattr(self.trained.data_class, "prompt", None)
        if not hasattr(module, "generate") or prompt is None:
            data = getattr(self.trained.data_class, "__name__", "unknown data")
            raise CheckpointError(
                f"{self.trained.file} holds a {module.__name__} on {data}: {', '.join(public_modules('generate'))} can "
                "generate, on data with a prompt."
            )
        self.prompted = parser.add_class_arguments(prompt, skip={"data"}, instantiate=False)
        self.sampling = parser.add_method_arguments(module, "generate", skip={*prompt.fills, "seed"})

    def run(self, options: Namespace) -> None:
        """Prompt, generate, write, and say what was written."""
        module, data = self.trained.module, self.trained.datamodule()
        self.trained.require_columns(data)
        try:
            prompt: Prompt = data.prompt(data, **{name: options[name] for name in self.prompted})
        except ValueError as error:
            raise RequestError(str(error)) from error
        sampling = {name: options[name] for name in self.sampling}
        made = module.generate(**prompt.condition, **sampling, seed=options.seed)
        home = Path(options.out) if options.out else self.trained.folder / "made"
        home.mkdir(parents=True, exist_ok=True)
        for path in prompt.write(made, home / str(options.seed)):
            print(path)
