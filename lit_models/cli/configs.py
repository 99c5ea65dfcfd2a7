"""Configs by name: those that are shipped, and files."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import yaml

from litmotif.bounds import opened, require_shallow
from litmotif.errors import DataError, LitmotifError
from litmotif.names import did_you_mean

OVERLAYS = ("trainer", "logger", "debug")
"""Folders whose configs change how an experiment runs, not what it is."""
DEFAULTS = "defaults"
MOST_BYTES, MOST_VALUES = 2**20, 10**5
"""Of a config: the largest of ours has a few hundred values."""
SERIES = ".series"
"""``NAME.series.yaml`` is a list of configs for ``litmotif series -c NAME``."""
RUN_CONFIG = "config.yaml"
"""What a run leaves of the config that it was started with."""
RENAMED = {
    "ddpm/base_forest": "state_action/base_forest",
    "ddpm/g1_base": "state_action/g1_base",
    "ddpm/g1_large": "state_action/g1_large",
    "ddpm/g1_paper": "state_action/g1_paper",
    "ddpm/g1_small": "state_action/g1_small",
    "ddpm/motion_beat2": "motion/beat2",
    "ddpm/motion_cmu": "motion/cmu",
    "ddpm/motion_evaluator": "motion/evaluator",
    "ddpm/motion_humanml3d": "motion/humanml3d",
    "ddpm/motion_procedural": "motion/procedural",
    "ddpm/motion_real": "motion/real",
    "ddpm/motion_requirement": "motion/requirement",
    "ddpm/speech_procedural": "motion/speech",
}
"""Names of earlier versions, each with what it is called now."""


class ConfigError(LitmotifError, ValueError):
    """A config that cannot be found, or a file that is none."""


def folder() -> Path:
    """Where the shipped configs lie: in the wheel, or in the source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Names of the shipped configs, overlays last."""
    found = [path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.yaml")]
    found = [name for name in found if name != DEFAULTS and not name.endswith(SERIES)]
    return sorted(found, key=lambda name: (name.split("/")[0] in OVERLAYS, name))


def series_names() -> list[str]:
    """Names of the shipped lists of configs."""
    found = [path.relative_to(folder()).as_posix() for path in folder().rglob(f"*{SERIES}.yaml")]
    return sorted(name.removesuffix(f"{SERIES}.yaml") for name in found)


def find(name: str) -> Path:
    """The file of a config.

    Args:
        name: a path, or the name of a shipped config with or without its ending.

    Raises:
        ConfigError: neither; names the new name of an old one, or the nearest.
    """
    shipped = folder() / f"{name.removesuffix('.yaml')}.yaml"
    for candidate in (Path(name), shipped):
        if _is_file(candidate):
            return candidate
    now = RENAMED.get(name.removesuffix(".yaml").rpartition("configs/")[2])
    if now is not None:
        raise ConfigError(
            f"-c {name}: this config is called {now} now: -c {now}. Runs under the old name stay where they are; name "
            "their folder to go on with one."
        )
    hint = did_you_mean(name, names(), cutoff=0.4)
    raise ConfigError(f"-c {name}: no such file, and no shipped config of that name.{hint} See litmotif list.")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def check(path: Path) -> Path:
    """Give back ``path`` if it holds keys.

    Raises:
        ConfigError: it is no text, no YAML, or has no keys.
    """
    if not isinstance(read(path), dict):
        raise ConfigError(f"{path} has no `key: value` line: fill it in, or leave it out.")
    return path


def read(path: Path) -> Any:
    """The content of a YAML file; its aliases count each time, so that none unfolds into billions.

    Raises:
        ConfigError: it is no text, no YAML, or too large or too deep for a config.
    """
    try:
        with opened(path, MOST_BYTES) as file:
            content = yaml.safe_load(file.read().decode())
        require_shallow(content, path, MOST_VALUES)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text file, so it is no config.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply for a config.") from error
    except DataError as error:
        raise ConfigError(str(error)) from error
    except (ValueError, TypeError) as error:  # a number of thousands of digits, a list as a key
        raise ConfigError(f"{path} is no config: {' '.join(str(error).split())}") from error
    return content


def summary(path: Path) -> str:
    """The second line of a config: what it is."""
    lines = path.read_text().splitlines()
    return lines[1].lstrip("# ").strip() if len(lines) > 1 else ""


def experiment_name(requested: list[str]) -> str:
    """The name of an experiment: that of its first config that is no overlay.

    The config that a run has left (``runs/NAME/version_0/config.yaml``) has the name of that run.
    """
    for name in requested:
        path = Path(name).resolve()
        inside = path.relative_to(folder()).as_posix() if path.is_relative_to(folder()) else name
        shipped = inside.removesuffix(".yaml")
        if shipped not in names():
            return _of_a_run(path) or path.stem
        if shipped.split("/")[0] not in OVERLAYS:
            return shipped
    return "unnamed"


def _of_a_run(path: Path) -> str:
    *above, experiment, version, _ = path.parts
    if not version.startswith("version_"):
        return ""
    return "/".join([*above[above.index("runs") + 1 :], experiment] if "runs" in above else [experiment])


def requested(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Take the configs out of command-line arguments.

    They stand behind ``-c``, or first and without it; where there is none, and no class is named, the run that
    ``--ckpt_path`` names has left its own.

    Returns:
        The requested configs, and the other arguments.
    """
    first = list(takewhile(lambda token: not token.startswith("-"), arguments))
    named, rest = split(arguments[len(first) :])
    named = first + named
    if named or any(token.partition("=")[0] in ("--model", "--data") for token in rest):
        return named, rest
    for key, value in options(rest):
        if key == "--ckpt_path" and (left := _left_by(Path(value))):
            return [str(left)], rest
    return [], rest


def options(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Keys and values of ``--KEY=VALUE`` and ``--KEY VALUE``; the value is empty where none stands behind."""
    for token, behind in zip(tokens, [*tokens[1:], ""], strict=False):
        key, given, value = token.partition("=")
        if key.startswith("--"):
            yield key, value if given else behind


def _left_by(run: Path) -> Path | None:
    """The config that a run has left, named by its folder, the folder of such runs, or a checkpoint in it."""
    folders = [run, *sorted(run.glob("version_*"), key=lambda path: path.stat().st_mtime, reverse=True)]
    if run.is_file():
        folders = [run.parent.parent, run.parent]
    return next((folder / RUN_CONFIG for folder in folders if (folder / RUN_CONFIG).is_file()), None)


def require_one_experiment(files: Sequence[Path]) -> None:
    """Refuse two experiments laid over each other: the second would be given what the first has for another class.

    Raises:
        ConfigError: two of the files are whole, and both are shipped or name different classes.
    """
    whole = {path: classes for path in files if (classes := _classes_of_experiment(path))}
    for (one, its), (other, others) in pairwise(whole.items()):
        if its != others or all(path.resolve().is_relative_to(folder()) for path in (one, other)):
            raise ConfigError(
                f"-c {one} -c {other}: these are two whole experiments ({' on '.join(its)}; {' on '.join(others)}) and "
                f"would be mixed. Name one, and lay over it what changes how it runs: {', '.join(OVERLAYS)}."
            )


def _classes_of_experiment(path: Path) -> tuple[str, str] | None:
    """Module and data of a config that says with which seed or trainer they run; None for what is laid over one."""
    content = read(path)
    parts = [content.get(part) for part in ("model", "data")]
    classes = [
        str(part.get("class_path")).rpartition(".")[2]
        for part in parts
        if isinstance(part, dict) and part.get("class_path")
    ]
    return (classes[0], classes[1]) if len(classes) == 2 and {"seed_everything", "trainer"} & content.keys() else None


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Take the ``-c`` out of command-line arguments.

    Returns:
        The requested configs, and the other arguments.
    """
    requested: list[str] = []
    rest: list[str] = []
    tokens: Iterator[str] = iter(arguments)
    for token in tokens:
        if token in ("-c", "--config"):
            requested.append(next(tokens, ""))
        elif token.startswith(("--config=", "-c=")):
            requested.append(token.split("=", 1)[1])
        else:
            rest.append(token)
    return requested, rest
