"""Plain hyper-parameters: what YAML can write is what a checkpoint may hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from litmotif.errors import ArgumentTypeError

PLAIN = (bool, int, float, str, type(None))


def require_plain(hparams: Mapping[str, Any], owner: str) -> None:
    """Refuse any hyper-parameter that YAML could not write.

    A path, a NumPy number, a class or a module inside the hyper-parameters makes a checkpoint that
    ``torch.load(..., weights_only=True)`` cannot read.

    Args:
        hparams: names and values, nested at will.
        owner: the class that takes them, for the message.

    Raises:
        TypeError: names the offender, its type and the remedy.
    """
    for name, value in hparams.items():
        offender = _offender(value, str(name))
        if offender is not None:
            where, bad = offender
            raise ArgumentTypeError(
                f"{owner}({where}=...): {type(bad).__module__}.{type(bad).__qualname__} is no plain value. "
                "Give numbers, strings, bools, None, lists or dicts of these (e.g. str(path), float(x))."
            )


def _offender(value: Any, where: str) -> tuple[str, Any] | None:
    if isinstance(value, Mapping):
        pairs = [(f"{where}.{key}", item) for key, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        pairs = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None if type(value) in PLAIN else (where, value)
    return next((found for name, item in pairs if (found := _offender(item, name))), None)
