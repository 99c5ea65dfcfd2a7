"""Where the three packages come from: a folder called ``callbacks`` beside a script must never pass for ours."""

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("lit_models", "datamodules", "callbacks")
HOME = Path(__file__).resolve().parents[2]
"""The folder that holds the package this file belongs to, and should hold the other two."""


def origins() -> dict[str, Path | None]:
    """The folder (or file) of each package as an import would find it; nothing is imported."""
    found: dict[str, Path | None] = {}
    for name in PACKAGES:
        spec = find_spec(name)
        places = [*(spec.submodule_search_locations or []), spec.origin] if spec else [None]
        found[name] = Path(places[0]).resolve() if places[0] else None
    return found


def complain_about_foreign_packages() -> bool:
    """Say which package would come from elsewhere, and how to mend it."""
    foreign = {name: place for name, place in origins().items() if place != HOME / name}
    for name, place in foreign.items():
        print(
            f"litmotif: the package {name!r} would be imported from {place or 'nowhere'}, not from {HOME / name}.\n"
            f"Remedy: run the command `litmotif` instead of `python -m lit_models`, leave the folder that holds "
            f"another {name!r}, or take it off PYTHONPATH.",
            file=sys.stderr,
        )
    return bool(foreign)
