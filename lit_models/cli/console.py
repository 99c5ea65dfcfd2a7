"""Where the command prints: as wide as the terminal, or wide enough for a line to stay a line."""

from rich.console import Console

PIPED_WIDTH = 160


def console(stderr: bool = False) -> Console:
    """A console for tables."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=PIPED_WIDTH)
