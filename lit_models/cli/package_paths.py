"""Import paths of the packages: a folder called ``callbacks`` beside a script must never pass for ours."""

from importlib.util import find_spec
from pathlib import Path

from litmotif.errors import LitmotifError

PACKAGES = ("lit_models", "datamodules", "callbacks")
"""Those with public classes."""
LEAF = "litmotif"
HOME = Path(__file__).resolve().parents[2]
"""The folder that holds the package this file belongs to, and should hold the others."""


class ForeignPackageError(LitmotifError, ImportError):
    """A package of ours would be imported from elsewhere; the message names the place and the remedy."""


def package_paths() -> dict[str, Path | None]:
    """The folder (or file) of each package as an import would find it; nothing is imported."""
    found: dict[str, Path | None] = {}
    for name in (LEAF, *PACKAGES):
        spec = find_spec(name)
        places = [*(spec.submodule_search_locations or []), spec.origin] if spec else [None]
        found[name] = Path(places[0]).resolve() if places[0] else None
    return found


def require_ours() -> None:
    """Raise an error that names each package from elsewhere, where it would come from, and what to do."""
    foreign = [
        f"the package {name!r} would be imported from {path or 'nowhere'}, not from {HOME / name}.\n"
        "Remedy: run the command `litmotif` instead of `python -m lit_models`, leave the folder that holds "
        f"another {name!r}, or take it off PYTHONPATH."
        for name, path in package_paths().items()
        if path != HOME / name
    ]
    if foreign:
        raise ForeignPackageError("\n".join(foreign))
