"""Errors that are told to the user: what was wrong, where, and the remedy. Imports nothing, not even PyTorch."""


class LitmotifError(Exception):
    """An error whose message is written for the user; the command prints it without a traceback.

    Args:
        message: what was wrong and where: file, key, value.
        remedy: what to do about it; empty where the message says it.
    """

    def __init__(self, message: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        """The message, then the remedy."""
        return f"{self.message} {self.remedy}".strip()


class ArgumentError(LitmotifError, ValueError):
    """An argument outside of what it may be; the message names it, its value and its range."""


class ArgumentTypeError(LitmotifError, TypeError):
    """An argument of a type that cannot be taken; the message names it and the types that can."""


class MissingExtraError(LitmotifError, ModuleNotFoundError):
    """A library of an extra is missing; the message names the extra to install."""


class DataError(LitmotifError, ValueError):
    """Data that cannot be had as asked for; the message names the option and the remedy."""
