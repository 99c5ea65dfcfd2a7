"""Source locations: the file and line of a word of a request, or the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Location(NamedTuple):
    """Location of a word: file and line or command line, the keys above it, the class beside it."""

    where: str
    path: tuple[str, ...]
    owner: str | None

    @property
    def key(self) -> str:
        """The key as one writes it on the command line."""
        return ".".join(name for name in self.path if name != "init_args")


def location_of(key: str, files: Sequence[str], overrides: Sequence[str]) -> str | None:
    """Where an init argument such as ``model.seed`` is set; None for nowhere."""
    found = locations(key.rpartition(".")[2], files, overrides)
    return next((location.where for location in found if location.key == key), None)


def locations(word: str, files: Sequence[str], overrides: Sequence[str]) -> Iterator[Location]:
    """Wherever ``word`` stands as a key or as a value, the command line first, then the files from the last.

    Args:
        word: whole, not a part of another.
        files: the config files of the request, in order.
        overrides: what stands on the command line besides them.
    """
    for before, token in zip(["", *overrides], overrides, strict=False):
        named = before if token == word else token.partition("=")[0]
        path = tuple(named.removeprefix("--").removesuffix("+").split("."))
        if token == word or word in path or token.endswith(("=" + word, "." + word)):
            yield Location("command line", path, None)
    for file in reversed(files):
        for path, line, owner, text in _walk(yaml.compose(Path(file).read_text()), (), None):
            if path[-1:] == (word,) or text == word:
                yield Location(f"{file}, line {line}", path, owner)


def _walk(
    node: Any, path: tuple[str, ...], owner: str | None
) -> Iterator[tuple[tuple[str, ...], int, str | None, str | None]]:
    """Path, line, class beside it and value of each key."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(item, path, owner)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        own = next((v.value for k, v in node.value if k.value == "class_path"), owner)
        here = (*path, key.value.removesuffix("+"))
        yield here, key.start_mark.line + 1, own, value.value if isinstance(value, yaml.ScalarNode) else None
        yield from _walk(value, here, own)
