"""The parser: Lightning's, with errors that a person can act on."""

import sys
from typing import ClassVar, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from .hints import explain


class HintingParser(LightningArgumentParser):
    """Names the file, the key and the nearest valid name of whatever is wrong, and exits with status 2."""

    files: ClassVar[list[str]] = []
    """Config files of the request: the parser's own messages do not say which one they mean."""
    overrides: ClassVar[list[str]] = []
    """What stands on the command line besides configs."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Explain and exit."""
        print(f"litmotif: {explain(message, self.files, self.overrides)}", file=sys.stderr)
        raise SystemExit(2) from ex
