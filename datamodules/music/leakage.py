"""Leakage: songs that a model has been trained or tuned on are no test of it, whoever asks for one."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..core import DataError
from .song import NOTE_FIELDS, Song

Seen = Mapping[str, Sequence[str]]
"""Identities of the songs of the splits ``train`` and ``val``."""


def identities(song: Song) -> list[str]:
    """What a song is known by, whatever its name and set: its notes, roll or sound, and its group where it has one."""
    found = hashlib.sha256()
    for name in (*NOTE_FIELDS, "roll", "audio"):
        values = getattr(song, name)
        if values is not None and len(values):
            rounded = values.round(4) if values.dtype.kind == "f" else values
            found.update(f"{name} {values.shape}".encode() + np.ascontiguousarray(rounded).tobytes())
    group = [f"group {song.group}"] if song.group != song.name else []
    return [found.hexdigest()[:20], *group]


def seen_in(songs: Iterable[Song]) -> list[str]:
    """Identities of songs, in order, each once."""
    return sorted({identity for song in songs for identity in identities(song)})


def unseen(songs: Sequence[Song], places: Sequence[int], seen: Seen, split: str, where: str) -> list[int]:
    """Places of those songs of a split that may judge a model.

    Args:
        songs: all of them.
        places: of the split.
        seen: what the model, or any member of an ensemble, has seen.
        split: ``test``, which may hold nothing that was trained or tuned on, or ``val``: nothing that was trained on.
        where: the set, for the message.

    Raises:
        DataError: none is left.
    """
    known = {one for name in (("train", "val") if split == "test" else ("train",)) for one in seen.get(name, ())}
    kept = [place for place in places if known.isdisjoint(identities(songs[place]))]
    if len(kept) == len(places):
        return list(places)
    leaked = [songs[place].name for place in places if place not in set(kept)]
    told = f"{where}: the model was trained on {len(leaked)} of the {len(places)} {split} songs, such as {leaked[0]}"
    if not kept:
        raise DataError(
            f"{told}: no song is left to judge it by. Take the split that it was trained with (data.split_seed, folds, "
            "fold), other songs, or for the folds of a cross-validation the figures of litmotif crossval."
        )
    warnings.warn(f"{told}. They are left out.", stacklevel=2)
    return kept
