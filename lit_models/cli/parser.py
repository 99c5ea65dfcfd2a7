"""Errors of the parser in the words of a person: which file, which key, which name was probably meant."""

import sys
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from .hints import explain

sources: list[str] = []
"""Config files of this request, and what stands on the command line; the parser's messages do not tell them apart."""


class HintingParser(LightningArgumentParser):
    """Lightning's parser with short messages."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Explain and exit with status 2."""
        print(f"litmotif: {explain(message, sources)}", file=sys.stderr)
        raise SystemExit(2) from ex

    def __call__(self, *args: Any) -> Any:
        """Not used."""
        raise NotImplementedError
