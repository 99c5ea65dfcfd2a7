"""Tables on the terminal: as wide as it is, or wide enough for a line to stay a line in a pipe."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160


def console(stderr: bool = False) -> Console:
    """A console for tables."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=PIPED_WIDTH)


def print_sections(sections: Mapping[str, Mapping[str, str]]) -> None:
    """Print names and what belongs to them (rich markup), under headings."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, rows in sections.items():
        table.add_row(f"[cyan]{heading}[/cyan]", "")
        for name, text in rows.items():
            table.add_row(f"  {name}", text)
    console().print(table)
