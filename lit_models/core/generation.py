"""Protocol of conditional generation: a datamodule prompts, a module generates, the prompt writes the files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor


class Prompt(Protocol):
    """Condition of a module's ``generate``, and the writer of what it makes.

    A datamodule names the class as ``prompt``. Its constructor takes the datamodule, then options that a command line
    can give. What it does not fill of the keyword arguments of ``generate``, ``seed`` aside, are options too.

    Attributes:
        fills: keyword arguments of ``generate`` that are not for the user.
        condition: values of them.
    """

    fills: ClassVar[frozenset[str]]
    condition: Mapping[str, Any]

    def write(self, made: Tensor, stem: Path) -> list[Path]:
        """Write what ``generate`` has made, under names that begin with ``stem``; the files."""
