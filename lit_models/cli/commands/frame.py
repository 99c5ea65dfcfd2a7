"""Command frame: options, overrides and the ending that all commands of our own have."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NoReturn

from jsonargparse import ArgumentParser, Namespace

from .. import OWN
from ..errors import exit_status
from ..trust import FLAG

PASSED_ON = ("--model", "--data", "--trainer", "--seed_everything", "--test_after_fit")
"""Options of ``fit``: these, and keys below them."""
CONFIG_HELP = "a shipped config or a file; several are laid over each other"


class CommandParser(ArgumentParser):
    """Says what is wrong in one line, and exits with status 2."""

    def add_config(self) -> None:
        """Add ``-c``, as often as one likes."""
        self.add_argument("-c", "--config", action="append", default=[], help=CONFIG_HELP)

    def add_run(self) -> None:
        """Add what names a trained run: ``-c`` and ``--ckpt_path``."""
        self.add_config()
        self.add_argument("--ckpt_path", type=str, default="best", help="best, last, a file, or a run folder")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say it and exit."""
        self.exit(2, f"litmotif: {' '.join(message.split())} See {self.prog} --help.\n")


class Command(ABC):
    """One command: it is called with the arguments behind its name and gives the exit status, see ``errors``.

    Attributes:
        runs_fit: whether ``--model``, ``--data`` and the like are not its own but meant for the ``fit`` that it runs:
            they become the ``overrides``, with all that follows ``--``.
        reserved: overrides that it sets itself, each with what to do instead.
    """

    runs_fit: ClassVar[bool] = False
    reserved: ClassVar[Mapping[str, str]] = {}

    def __call__(self, arguments: Sequence[str]) -> int:
        """Parse, carry out, and say how it ended."""
        return exit_status(lambda: self.run(self.parse(arguments)))

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Its options, with the ``overrides`` and the whole ``request`` as one would type it.

        Raises:
            SystemExit: 2 for a wrong request, 0 after ``--help``.
        """
        name = type(self).__name__.lower()
        parser = CommandParser(prog=f"litmotif {name}", description=OWN[name], allow_abbrev=False)
        self.add_arguments(parser, arguments)
        own, overrides = split(arguments) if self.runs_fit else (list(arguments), [])
        for key in map(key_of, overrides):
            if key in self.reserved:
                parser.error(f"{key}: {self.reserved[key]}")
        options = parser.parse_args(own)
        options["overrides"], options["request"] = overrides, shlex.join(["litmotif", name, *arguments])
        return options

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:  # noqa: B027
        """Add options; which ones may depend on what is asked for."""

    @abstractmethod
    def run(self, options: Namespace) -> int | None:
        """Carry it out; the exit status, None for 0."""


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the options of a command from those of the ``fit`` that it runs."""
    own: list[str] = []
    overrides: list[str] = []
    tokens: Iterator[str] = iter(arguments)
    for token in tokens:
        if token == "--":  # noqa: S105
            overrides += tokens
        elif token == FLAG:
            overrides.append(token)
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


def config_tokens(names: Sequence[str]) -> list[str]:
    """Configs as arguments: ``-c NAME`` each."""
    return [token for name in names for token in ("-c", name)]
