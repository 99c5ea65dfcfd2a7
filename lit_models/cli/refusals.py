"""Refusals of constructors: what cannot be built, why, and by which options."""

import re
import traceback
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from lightning.fabric.utilities.exceptions import MisconfigurationException

from litmotif.errors import LitmotifError, MissingExtraError

from .errors import RequestError

LIBRARIES = {
    "MLFlowLogger": ("mlflow", "litmotif[mlflow]"),
    "NeptuneLogger": ("neptune", "neptune"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "WandbLogger": ("wandb", "wandb"),
    "LitLogger": ("litlogger", "litlogger"),
}
"""What Lightning's loggers import, and what brings it; of a missing one the parser says only that it is no logger."""
ALIKE = r"more than one stateful callback of type `(?:Distinct)?(\w+)`"
SPOKEN = (LitmotifError, MisconfigurationException, OSError)
"""Errors that say it themselves."""


def require_library(class_path: str) -> None:
    """Refuse a logger of Lightning's whose library is not here.

    Raises:
        MissingExtraError: names both, and what to install.
    """
    library, package = LIBRARIES.get(class_path.rpartition(".")[2], (None, ""))
    if library is not None and find_spec(library) is None:
        name = class_path.rpartition(".")[2]
        raise MissingExtraError(f"trainer.logger: {name} needs {library}.", f"Remedy: pip install '{package}'.")


def refusal(part: str, error: Exception, overrides: Sequence[str]) -> Exception:
    """The error to raise where a constructor has failed: a sentence, whatever it was.

    Args:
        part: ``trainer``; empty where the traceback tells.
        error: what came out of the constructor, perhaps wrapped by the parser.
        overrides: what stands on the command line besides configs.
    """
    found = [*_chain(error)]
    for each in found:
        if isinstance(each, SPOKEN):
            return each
    root = found[-1]
    if alike := re.search(ALIKE, str(root)):
        return RequestError(
            f"trainer.callbacks: two {alike[1]} that nothing tells apart: give one a filename or monitor."
        )
    what = part or _owner(root) or "the run"
    given = [token for token in overrides if token.startswith("--")]
    options = f" Options of this request: {' '.join(given)}." if given else ""
    reason = str(root) if isinstance(root, ValueError) else f"{type(root).__name__}: {root}"
    return RequestError(f"{what} cannot be built: {reason.strip().rstrip('.')}.{options}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what the parser has wrapped, the innermost last."""
    seen: BaseException | None = error
    told: list[BaseException] = []
    while seen is not None and seen not in told:
        told.append(seen)
        yield seen
        wrapped = "jsonargparse" in traceback.extract_tb(seen.__traceback__)[-1].filename
        seen = seen.__cause__ or (seen.__context__ if wrapped else None)


def _owner(error: BaseException) -> str | None:
    """The class whose constructor has failed: of the first frame behind the parser's that is an ``__init__``."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    makers = [frame.f_locals.get("self") for frame in frames if frame.f_code.co_name == "__init__"]
    kinds = [type(maker).__name__ for maker in makers if maker is not None and not type(maker).__name__.endswith("CLI")]
    return kinds[0] if kinds else None
