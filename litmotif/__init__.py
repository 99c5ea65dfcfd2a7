"""Shared by the three packages: typed batches, files, caches, seeds, intervals, errors; their public names, lazily.

``litmotif.MDLMDiT``, ``litmotif.MiniGridPlans``, ``litmotif.EMAWeights`` and ``litmotif.load`` are those of
``lit_models``, ``datamodules`` and ``callbacks``, imported when first used. Nothing in here imports them otherwise.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PACKAGES = ("lit_models", "datamodules", "callbacks")


def __getattr__(name: str) -> Any:
    """A public name of one of the packages."""
    if not name.startswith("_"):
        for package in map(import_module, _PACKAGES):
            if name in package.__all__:
                return getattr(package, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names of all packages."""
    return sorted({"__version__"}.union(*(import_module(package).__all__ for package in _PACKAGES)))
