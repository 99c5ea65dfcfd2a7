"""Another environment than an experiment's: what its config says of its own one does not hold for that."""

import sys
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from . import configs
from .links import named_class


def own_defaults(subcommand: str, files: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Arguments that set to their defaults what configs say of another ``data.env`` than the one that is asked for.

    Says which. In evaluation the horizon stays: it is that of the trained model.

    Args:
        subcommand: ``fit`` or another.
        files: configs, in order.
        overrides: what stands on the command line besides them.
    """
    owner = named_class("data", files, overrides)
    of_env = getattr(owner, "of_env", ())  # a plain datamodule of Lightning's has none
    if owner is None or not of_env:
        return []
    sources = [*(_settings(configs.read(Path(file))) for file in files), dict(_given(overrides))]
    named = [(row, source["env"]) for row, source in enumerate(sources) if "env" in source]
    if len(named) < 2 or named[-1][1] == named[-2][1]:
        return []
    last, env = named[-1]
    before = {key for source in sources[:last] for key in source}
    since = {key for source in sources[last:] for key in source}
    void = [key for key in of_env if key in before - since and (subcommand == "fit" or key != "horizon")]
    if not void:
        return []
    names = ", ".join(f"data.{key}" for key in void)
    other = f"data.env is {env}, not the experiment's {named[-2][1]}"
    print(f"litmotif: {other}: {names} are its defaults.", file=sys.stderr)
    defaults = signature(owner).parameters
    return [f"--data.{key}={yaml.safe_dump(defaults[key].default).splitlines()[0]}" for key in void]


def _settings(config: Any) -> dict[str, Any]:
    """What a config says of the data, by the first part of the name."""
    data = config.get("data") if isinstance(config, dict) else None
    if isinstance(data, str) and Path(data).suffix in (".yaml", ".yml") and Path(data).is_file():
        data = configs.read(Path(data))
    if not isinstance(data, dict):
        return {}
    return {key: value for key, value in data.items() if key != "init_args"} | dict(data.get("init_args") or {})


def _given(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The same of ``--data.NAME=value`` and ``--data.NAME value``."""
    for key, value in configs.options(overrides):
        if key.startswith("--data."):
            name = key.removeprefix("--data.").removeprefix("init_args.")
            yield name.partition(".")[0].removesuffix("+"), value
