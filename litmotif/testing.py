"""Conformance laws for a module and data of one's own, see ``lit_models.testing``, imported when first used."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """``check``, ``cases``, ``LAWS`` and ``LawError``."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lit_models.testing"), name)
