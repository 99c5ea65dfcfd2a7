"""Melody harmonisation: the chord of each beat, from the melody."""

import numpy as np

from ..chords import TRIADS, VOCABULARIES, Vocabulary, parse_chord
from ..song import Song
from .base import Array, Block, Frames, Layout, Task, at_least, chroma, one_of
from .context import chord_rows
from .keys import key_posterior
from .raster import bar_step, coverage, decayed, in_bar, one_hot, rows_of, scatter, share, shifted, window_sum
from .voices import drums, melody

BEATS_OF_KEY = 16
"""Half-life, in beats, of the memory from which the key is found."""
CLASSES = 64
_AHEAD = {"melody_in_1": (1, 1), "melody_in_2_to_3": (2, 3), "melody_in_4_to_7": (4, 7)}
_BEFORE = {"melody_1_ago": (-1, -1), "melody_2_to_4_ago": (-4, -2)}
"""Windows in beats after the row's own."""


class Harmony(Task):
    """Melody around a beat -> class of the chord that sounds in its middle.

    The melody is given as pitch classes, weighted by the share of the beat for which they sound: of the beat itself,
    of growing windows before and after it, and of all that was heard.

    Args:
        vocabulary: ``triads`` (25 classes) or ``extended`` (62), see ``chords``; of 64 columns the rest are masked.
        previous_chord: give the true chord of the beat before. Otherwise these columns hold the key: how likely each
            of the 24 is.
        key: where the key comes from: ``estimated`` from what was heard, or ``given`` as the song says it.
        notes: harmonise the ``melody``, or recognise the chords that ``all`` notes form.
        lookahead: beats of the melody after a row's own that it sees.
        size: ``small`` (128 columns); ``full``, which adds each half of the ``lookahead`` beats by itself; or
            ``newest``, which adds both halves of the last of them: a network with memory has seen the others.
        rate: rows a beat.
    """

    name = "harmony"

    def __init__(
        self,
        vocabulary: Vocabulary = "triads",
        previous_chord: bool = False,
        key: str = "estimated",
        notes: str = "melody",
        lookahead: int = 1,
        size: str = "small",
        rate: int = 1,
    ) -> None:
        one_of("vocabulary", vocabulary, tuple(VOCABULARIES))
        one_of("key", key, ("estimated", "given"))
        one_of("notes", notes, ("melody", "all"))
        one_of("size", size, ("small", "full", "newest"))
        one_of("rate", rate, (1, 2, 4))
        at_least("lookahead", lookahead, 0)
        self.vocabulary: Vocabulary = vocabulary
        self.previous_chord, self.key_given, self.only_melody = previous_chord, key == "given", notes == "melody"
        self.rate = rate
        self.steps, self.ahead = rate, lookahead * rate
        self.latency = self.ahead
        before = [Block("previous", TRIADS[:24], "rotate"), Block("previous:N")]
        blocks = [
            *map(chroma, ("melody_now", *_AHEAD, *_BEFORE, "melody_all", "onset_now")),
            *(before if previous_chord else [Block("key", TRIADS[:24], "rotate")]),
            Block("bar_beat", 4),
            Block("rest"),
            Block("beats_to_bar"),
        ]
        first = {"small": 2 * lookahead + 2, "full": 0, "newest": 2 * lookahead}[size]
        self.halves = {f"half_in_{k / 2:g}": k for k in range(first, 2 * lookahead + 2)}
        self.inputs = Layout([*blocks, *map(chroma, self.halves)], 128 if size == "small" else None)
        names = VOCABULARIES[vocabulary]
        roots = [Block(f"class{k}", names[k : k + 12], "rotate") for k in (0, 12)]
        sevenths = [Block(f"class{k}", names[k : k + 12], "rotate") for k in range(25, len(names) - 1, 12)]
        ending = [Block("class61", names[61:])] if sevenths else []
        self.targets = Layout([*roots, Block("class24", ("N",)), *sevenths, *ending], CLASSES)

    def missing(self, song: Song) -> str | None:
        """A song needs chords and notes; and a key, where it is to be given."""
        if not song.chords:
            return "chords"
        if self.key_given and song.key is None:
            return "a key (task_options.key)"
        return None if len(song.onset) and self._chosen(song).any() else "notes"

    def frames(self, song: Song) -> Frames:
        """One row a beat."""
        rows = rows_of(song, self.rate)
        beats = np.arange(rows) / self.rate
        _, classes = chord_rows(song, beats + 0.5 / self.rate, self.vocabulary)
        known = np.zeros((rows, CLASSES), bool)
        known[:, : self.targets.used] = (classes >= 0)[:, None]
        return Frames(
            self.inputs.fill(self._values(song, rows, beats, classes), rows), one_hot(classes, CLASSES), known
        )

    def _chosen(self, song: Song) -> Array:
        return melody(song) if self.only_melody else ~drums(song)

    def _values(self, song: Song, rows: int, beats: Array, classes: Array) -> dict[str, Array]:
        chosen = self._chosen(song)
        onset, pitch = song.onset[chosen], song.pitch[chosen] % 12
        end = onset + song.duration[chosen]
        now = coverage(onset * self.rate, end * self.rate, pitch, (rows, 12))
        heard = decayed(now, BEATS_OF_KEY * self.rate)
        on_beat = np.abs(onset * self.rate - np.rint(onset * self.rate)) < 0.1
        begin = np.floor(onset * self.rate + 0.1).astype(np.int64)
        position, bar = in_bar(song, beats)
        values = {
            "melody_now": now,
            **{name: self._window(now, *window) for name, window in (_AHEAD | _BEFORE).items()},
            "melody_all": share(heard),
            "onset_now": scatter(begin[on_beat], pitch[on_beat], (rows, 12)) > 0,
            "bar_beat": bar_step(position, 1, 4),
            "rest": np.clip(1 - now.sum(axis=1), 0, 1),
            "beats_to_bar": (bar - position) / 4,
        }
        if self.previous_chord:
            triads = classes if self.vocabulary == "triads" else chord_rows(song, beats + 0.5 / self.rate)[1]
            before = one_hot(np.append(-1, triads[:-1]), 25)
            values |= {"previous": before[:, :24], "previous:N": before[:, 24]}
        elif self.key_given:
            values["key"] = np.tile(one_hot(np.array([_key_class(song)]), 24), (rows, 1))
        else:
            values["key"] = key_posterior(heard)
        if self.halves:
            half = coverage(onset * 2 * self.rate, end * 2 * self.rate, pitch, (2 * rows, 12))
            values |= {name: shifted(half, k)[::2] for name, k in self.halves.items()}
        return values

    def _window(self, now: Array, first: int, last: int) -> Array:
        """Mean over beats ``first`` to ``last`` after each row's, as far as it may see."""
        first, last = first * self.steps, (last + 1) * self.steps - 1
        return window_sum(now, first, min(last, self.ahead)) / (last - first + 1)


def _key_class(song: Song) -> int:
    """0-11 major keys, 12-23 minor keys."""
    return parse_chord(song.key or "N", f"{song.source or song.name}: key").class_index()
