"""Null for an option of a group: jsonargparse 4.53 reads the null of ``--model.text.encoder=null`` as the text None."""

import importlib
import inspect
import re
from collections.abc import Collection, Sequence

from ..core.hparams import groups

_OPTION = re.compile(r"--model\.(?:init_args\.)?(\w+)\.(\w+)=(?:null|Null|NULL|~)")


def group_names() -> set[str]:
    """Groups of the public modules."""
    package = importlib.import_module("..", __package__)
    public = [getattr(package, name) for name in package.__all__]
    return {name for kind in public if inspect.isclass(kind) for name in groups(kind)}


def as_mappings(arguments: Sequence[str], names: Collection[str]) -> list[str]:
    """Command-line arguments with ``--model.GROUP.OPTION=null`` written as ``--model.GROUP={OPTION: null}``.

    Args:
        arguments: an option and its value in one token or in two.
        names: of groups; null for what lies in other dictionaries stays as it is.
    """
    written: list[str] = []
    for token in arguments:
        before = written[-1] if written else ""
        found = _OPTION.fullmatch(token) or _OPTION.fullmatch(f"{before}={token}")
        if found is None or found[1] not in names:
            written.append(token)
            continue
        if found.string != token:
            written.pop()
        written.append(f"--model.{found[1]}={{{found[2]}: null}}")
    return written
