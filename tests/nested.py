"""Settings laid over each other, the options of a group one by one, as configs are."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import lit_models
from lit_models.core.hparams import groups

from .conformance.registry import REGISTRY


@cache
def known() -> set[str]:
    """Groups of any public module; other dictionaries are values."""
    return {name for module in REGISTRY for name in groups(getattr(lit_models, module))}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The last layer wins, option by option."""
    found: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            found[name] = found[name] | value if name in known() & found.keys() else value
    return found
