"""Corpus inside the wheel of music21: Bach's chorales and the tunes of Ryan's Mammoth Collection."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from ..chordal_analysis import label_chords
from ..song import Song
from .base import Reader, Source, files_in, sources_of
from .score import key_label, read_score
from .score_file import open_scores

Collection = Literal["bach", "ryansMammoth"]
COLLECTIONS: dict[Collection, tuple[str, ...]] = {"bach": (".mxl", ".xml"), "ryansMammoth": (".abc",)}


@dataclass(frozen=True)
class Corpus(Reader):
    """Chorales in four parts with chords by ``label_chords``, or fiddle tunes; keys by Krumhansl where not given.

    A group is a tune, so that Bach's settings of one hymn stay together: they are known by how the melody begins.

    Args:
        collection: ``bach`` or ``ryansMammoth``.
    """

    name = "corpus"
    wants = "music21 with its corpus"
    needs = ("music21",)
    collection: Collection = "bach"

    def find(self, root: Path) -> list[Source]:
        """The files of the collection, wherever music21 is; ``root`` counts for nothing."""
        self.require()
        spec = find_spec("music21")
        folder = Path(spec.origin).parent / "corpus" / self.collection if spec and spec.origin else root
        sources = sources_of(folder, files_in(folder, *COLLECTIONS[self.collection]))
        return [replace(source, name=f"{self.collection}/{source.path.stem}") for source in sources]

    def read(self, source: Source) -> list[Song]:
        """One song; none where a piece of Bach has not four parts."""
        (score,) = open_scores(source.path)
        chorale = self.collection == "bach"
        if chorale and len(score.parts) != 4:
            return []
        fields = read_score(score, source.name, "none")
        if not len(fields["onset"]):
            return []
        fields["key"] = fields["key"] or key_label(score.analyze("key"))
        song = Song(name=source.name, source=source.name, **fields)
        return [replace(song, group=incipit(song), chords=song.chords or label_chords(song))] if chorale else [song]


def incipit(song: Song, beats: int = 8) -> str:
    """Incipit of the first voice, in any key: semitones above its first note, a number a beat."""
    onset, pitch = song.onset[song.voice == 0], song.pitch[song.voice == 0]
    index = np.searchsorted(onset, onset[0] + np.arange(beats), side="right") - 1
    return "incipit " + " ".join(str(step) for step in (pitch[index] - pitch[0]).tolist())
