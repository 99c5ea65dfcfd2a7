"""Provenance: source and licence of a data set, as the texts in its folder say; what its captions mean."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from ...files.checks import read_text
from ..clip import Clip, Origin

_SAYS = re.compile(r"^\W*(source|licen[cs]e)\W*:\s*(\S.*)$", re.IGNORECASE | re.MULTILINE)


def origin(folder: Path) -> Origin:
    """The data set in a folder.

    ``README*`` may have lines ``Source: ...`` and ``Licence: ...``; without the latter, the first line of ``LICENSE*``
    or ``LICENCE*`` tells.
    """
    said: dict[str, str] = {}
    for path in sorted(folder.glob("README*")):
        for key, text in _SAYS.findall(read_text(path, errors="replace")):
            said.setdefault(key.lower().replace("license", "licence"), text.strip())
    for path in sorted(folder.glob("LICEN[CS]E*")):
        lines = [line.strip() for line in read_text(path, errors="replace").splitlines() if line.strip()]
        if lines:
            said.setdefault("licence", lines[0])
    return Origin(folder.resolve().name, said.get("source", ""), said.get("licence", ""))


def phrase(clip: Clip) -> Clip:
    """The clip, its captions completed where ``sets.json`` knows the data set: "acted" is how somebody stands."""
    whole = _phrases().get(clip.origin.name, "{}")
    return replace(clip, captions=tuple(whole.format(caption) for caption in clip.captions))


@cache
def _phrases() -> dict[str, str]:
    phrases: dict[str, str] = json.loads((Path(__file__).parent / "sets.json").read_text())
    return phrases
