"""Linked CLI: Lightning's command line for a ``main.py`` of your own, with the links from the data to the module."""

import os
import secrets
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import resolve_name
from typing import Any, cast

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import StrategyRegistry

from ..core.hparams import parameters
from ..core.sharding import FSDP2Strategy
from .errors import RequestError
from .links import links_of
from .package_paths import PACKAGES

SEED = "PL_GLOBAL_SEED"
"""Lightning's own: tells the processes that it starts which seed the first one took."""


@cache
def drawn_seed() -> int:
    """A seed that nobody has named: the same in the processes that Lightning starts for this one.

    Raises:
        RequestError: several processes were started from outside, and none of them can ask another.
    """
    if "LOCAL_RANK" in os.environ and SEED in os.environ:
        return int(os.environ[SEED])
    if any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS")):
        raise RequestError(
            "seed_everything=true or false draws a seed, and these processes cannot share it: give a number."
        )
    return secrets.randbelow(2**31)


def seed_of(given: bool | int) -> int:
    """The seed that ``--seed_everything`` asks for: itself, or one that is drawn for ``true`` and ``false``.

    Raises:
        RequestError: NumPy takes no such seed.
    """
    if isinstance(given, bool):
        return drawn_seed()
    if not 0 <= given < 2**32:
        raise RequestError(f"seed_everything={given}: a seed is a whole number from 0 to {2**32 - 1}.")
    return given


def import_public() -> None:
    """Import every public class, and register our strategy, so that a config may name them shortly."""
    for package in PACKAGES:
        for name in import_module(package).__all__:
            resolve_name(f"{package}:{name}")
    if "fsdp2" not in StrategyRegistry.available_strategies():
        StrategyRegistry.register("fsdp2", FSDP2Strategy, "shards over all processes; whole checkpoints")


class LinkedCLI(LightningCLI):
    """Lightning's CLI whose module takes its sizes from the data, and whose module and data take ``seed_everything``.

    ``LinkedCLI(MDLMDiT, MiniGridPlans)`` is a whole ``main.py``; without classes they are named by ``--model`` and
    ``--data``. What a datamodule declares as ``links`` goes to the parameters of the same names of the module.

    Args:
        *args: of ``LightningCLI``, the classes of the module and of the data first.
        **kwargs: of ``LightningCLI``; the seed is 0 where none is named, and the optimiser is the module's own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings: dict[str, Any] = {
            "seed_everything_default": 0,
            "auto_configure_optimizers": False,
            "load_from_checkpoint_support": False,  # it would save links that the module does not have
        }
        given = kwargs.get("args")
        self.arguments: list[str] = list(sys.argv[1:] if given is None else given)
        import_public()
        super().__init__(*args, **settings | kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the links between seed, data and module."""
        for part in ("model", "data"):
            if self._takes(part, "seed"):
                parser.link_arguments("seed_everything", self._target(part, "seed"), compute_fn=seed_of)
        for name in self.link_names():
            if self._takes("model", name):
                parser.link_arguments(f"data.{name}", self._target("model", name), apply_on="instantiate")

    def link_names(self) -> Sequence[str]:
        """What the data declares; where any class may be named, what those that the request names declare."""
        if self.subclass_mode_data:
            return links_of(self.arguments)
        return getattr(self.datamodule_class, "links", ())

    def _takes(self, part: str, name: str) -> bool:
        """Whether the constructor of ``model`` or ``data`` has this argument, as far as its class is known."""
        owner = self.model_class if part == "model" else self.datamodule_class
        return self._any(part) or name in parameters(cast(type, owner))

    def _target(self, part: str, name: str) -> str:
        return f"{part}.init_args.{name}" if self._any(part) else f"{part}.{name}"

    def _any(self, part: str) -> bool:
        return self.subclass_mode_model if part == "model" else self.subclass_mode_data
