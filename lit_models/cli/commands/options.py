"""The options of our own commands, and what of a request is meant for the ``fit`` that they run."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

PASSED_ON = ("--model", "--data", "--trainer", "--seed_everything", "--test_after_fit")
"""Options of ``fit``: these, and keys below them."""


class OptionsParser(ArgumentParser):
    """Says what is wrong in one line, and exits with status 2.

    Args:
        command: its name behind ``litmotif``.
        description: the first line of its help.
    """

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"litmotif {command}", description=description, allow_abbrev=False, **kwargs)

    def add_configs(self) -> None:
        """Add ``-c``, as often as one likes."""
        self.add_argument(
            "-c", "--config", action="append", default=[], help="a shipped config or a file; several are laid over"
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say it and exit."""
        print(f"litmotif: {' '.join(message.split())} See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2) from ex

    def take(self, arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
        """Parse what is for the command.

        Returns:
            Its options, and the overrides for ``fit``: ``--data.KEY VALUE`` and the like, and all that follows ``--``.

        Raises:
            SystemExit: 2 for a wrong request, 0 after ``--help``.
        """
        own, overrides = split(arguments)
        return self.parse_args(own), overrides


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the options of a command from those of the ``fit`` that it runs."""
    own: list[str] = []
    overrides: list[str] = []
    tokens: Iterator[str] = iter(arguments)
    for token in tokens:
        if token == "--":  # noqa: S105
            overrides += tokens
        elif key_of(token).partition(".")[0] in PASSED_ON:
            overrides.append(token)
            if "=" not in token:
                overrides += [value for value in [next(tokens, None)] if value is not None]
        else:
            own.append(token)
    return own, overrides


def key_of(token: str) -> str:
    """The key of ``--KEY=VALUE``, ``--KEY`` or ``--KEY+=VALUE``."""
    return token.partition("=")[0].removesuffix("+")


def refuse(parser: OptionsParser, overrides: Sequence[str], remedies: dict[str, str]) -> None:
    """Refuse overrides that the command sets itself.

    Args:
        parser: reports it.
        overrides: what is meant for ``fit``.
        remedies: key and what to do instead.

    Raises:
        SystemExit: 2, where one of them stands there.
    """
    for token in overrides:
        if key_of(token) in remedies:
            parser.error(f"{key_of(token)}: {remedies[key_of(token)]}")
