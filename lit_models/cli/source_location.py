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
    """Where an init argument such as ``model.seed`` is set: the command line, a file and line, or nowhere.

    Args:
        key: the part and its init argument.
        files: the config files of the request.
        overrides: what stands on the command line besides them.
    """
    found = locations(key.rpartition(".")[2], files, overrides)
    return next((location.where for location in found if location.key == key), None)


def locations(word: str, files: Sequence[str], overrides: Sequence[str]) -> Iterator[Location]:
    """Wherever ``word`` stands as a key or as a value, the command line first, then the files from the last."""
    for token in overrides:
        path = tuple(token.partition("=")[0].removeprefix("--").removesuffix("+").split("."))
        if word in path or token.endswith(("=" + word, "." + word)) or token == word:
            yield Location("command line", path if token != word else _before(overrides, token), None)
    for file in reversed(files):
        for path, line, owner, text in _walk(yaml.compose(Path(file).read_text()), (), None):
            if path[-1:] == (word,) or text == word:
                yield Location(f"{file}, line {line}", path, owner)


def _before(overrides: Sequence[str], token: str) -> tuple[str, ...]:
    return tuple(overrides[max(0, list(overrides).index(token) - 1)].removeprefix("--").split("."))


def _walk(
    node: Any, path: tuple[str, ...], owner: str | None
) -> Iterator[tuple[tuple[str, ...], int, str | None, str | None]]:
    if isinstance(node, yaml.MappingNode):
        names = {key.value: value for key, value in node.value}
        own = names["class_path"].value if "class_path" in names else owner
        for key, value in node.value:
            text = value.value if isinstance(value, yaml.ScalarNode) else None
            here = (*path, key.value.removesuffix("+"))
            yield here, key.start_mark.line + 1, own, text
            yield from _walk(value, here, own)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(item, path, owner)
