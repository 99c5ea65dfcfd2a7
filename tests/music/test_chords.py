import itertools

import numpy as np
import pytest

from datamodules.core import DataError
from datamodules.music.chordal_analysis import label_chords
from datamodules.music.chords import EXTENDED, NONE, QUALITIES, TONICS, TRIADS, Harmony, parse_chord
from datamodules.music.readers import read
from datamodules.music.song import Song, sorted_notes

ROOTS = ["C", "F#", "Gb", "Bb", "B"]
LEAD_SHEET = [
    "", "m", "7", "maj7", "m7", "dim", "dim7", "m7b5", "aug", "+", "6", "m6", "sus4", "sus2", "7sus4", "mM7", "9", "M7",
    "min7", "minmaj7",
]  # fmt: skip


@pytest.mark.parametrize("root", ROOTS)
def test_lead_sheet_symbols_have_the_tones_that_music21_gives_them(root):
    harmony = pytest.importorskip("music21.harmony")
    for kind in LEAD_SHEET:
        figure = root.replace("b", "-") + kind
        theirs = harmony.ChordSymbol(figure)
        tones = {pitch.pitchClass for pitch in theirs.pitches}
        tones -= {(theirs.root().pitchClass + 2) % 12} if kind == "9" else set()  # classes end at the seventh
        assert parse_chord(root + kind).pitch_classes == tones, root + kind
        assert parse_chord(figure, minus="flat") == parse_chord(root + kind)


def test_labels_are_read_back_exhaustively():
    for root, quality in itertools.product(range(12), QUALITIES):
        harmony = Harmony(root, quality, root)
        assert parse_chord(harmony.label) == harmony
        assert len(harmony.pitch_classes) == len(QUALITIES[quality])
    assert parse_chord(NONE.label) == NONE


@pytest.mark.parametrize("root", range(12))
def test_classes_turn_with_the_root(root):
    def turned(symbol, vocabulary):
        return parse_chord(f"{TONICS[root]}:{symbol}").class_index(vocabulary)

    assert [TRIADS[turned(symbol, "triads")] for symbol in ("maj", "min", "7", "hdim7", "sus4", "5", "aug")] == [
        f"{TONICS[root]}:{third}" for third in ("maj", "min", "maj", "min", "maj", "maj", "maj")
    ]
    assert [EXTENDED[turned(symbol, "extended")] for symbol in ("maj", "7", "min7", "maj7", "sus2", "hdim7")] == [
        *(f"{TONICS[root]}:{quality}" for quality in ("maj", "7", "min7", "maj7")),
        "sus",
        f"{TONICS[root]}:min7",
    ]


def test_the_vocabularies_fit_the_heads():
    assert (len(set(TRIADS)), len(set(EXTENDED))) == (25, 62)
    assert EXTENDED[:25] == TRIADS
    assert NONE.class_index() == NONE.class_index("extended") == 24


@pytest.mark.parametrize(
    ("symbol", "label", "bass"),
    [
        ("C:min7/b3", "C:min7", 3),
        ("G:maj/3", "G:maj", 11),
        ("D/F#", "D:maj", 6),
        ("Bb/D", "Bb:maj", 2),
        ("C6/9", "C:maj6", 0),
        ("B:sus4(b7)", "B:7sus4", 11),
        ("C:(1,b3,5,b7)", "C:min7", 0),
        ("C:min(*b3)", "C:5", 0),
        ("F:maj6(9)", "F:maj6", 5),
        ("E7#9", "E:7", 4),
        ("A-7", "A:min7", 9),
        ("B♭m7", "Bb:min7", 10),
        ("Fadd9", "F:maj", 5),
        ("N.C.", "N", None),
    ],
)
def test_symbols_of_each_notation(symbol, label, bass):
    harmony = parse_chord(symbol)
    assert (harmony.label, harmony.bass) == (label, bass)


@pytest.mark.parametrize("symbol", ["H7", "Cfoo", "C:foo", "C:(x)", "Cm7q", "c", "7", "C:maj(14)"])
def test_an_unknown_symbol_is_named_or_counts_as_none(symbol):
    with pytest.raises(DataError, match=r"tune\.abc, beat 3: no chord symbol: '") as raised:
        parse_chord(symbol, "tune.abc, beat 3")
    assert repr(symbol) in str(raised.value)
    assert parse_chord(symbol, unknown="none") == NONE


# ---------------------------------------------------------------------- chordal analysis
def played(pitches_by_beat):
    rows = [(beat, 1.0, pitch, 80, 0) for beat, pitches in enumerate(pitches_by_beat) for pitch in pitches]
    return Song(name="a", **sorted_notes(*zip(*rows, strict=True)), length=float(len(pitches_by_beat)))


@pytest.mark.parametrize("quality", ["maj", "min", "dim", "7", "min7", "maj7", "hdim7"])
def test_chords_in_root_position_are_found_on_every_root(quality):
    chords = [[48 + root + tone for tone in QUALITIES[quality]] for root in range(12)]
    assert [chord.label for chord in label_chords(played(chords))] == [f"{tonic}:{quality}" for tonic in TONICS]


def test_inversions_passing_notes_silence_and_repetition():
    chords = label_chords(played([[52, 60, 67], [48, 64, 67], [], [50, 53, 57]]))
    assert chords == ((0.0, "C:maj"), (2.0, "N"), (3.0, "D:min"))
    triad = [(0.0, 1.0, pitch, 80, 0) for pitch in (48, 52, 55)]
    passing = [*triad, (0.0, 0.75, 60, 80, 0), (0.75, 0.25, 62, 80, 0)]
    assert label_chords(Song(name="a", **sorted_notes(*zip(*passing, strict=True))))[0].label == "C:maj"


def test_chorales_agree_with_music21_where_all_sound_a_whole_chord():
    """Beats whose sonority is a triad or seventh chord and does not move: root and third as music21 has them."""
    pytest.importorskip("music21")
    from music21 import converter

    reader, sources = read(None, "bach", 3)
    agreed = compared = 0
    for source in sources:
        for song in reader.read(source):
            onsets, labels = zip(*song.chords, strict=True)
            for chord in converter.parse(source.path).chordify().flatten().getElementsByClass("Chord"):
                whole = chord.quarterLength >= 1 and float(chord.offset).is_integer()
                if whole and (chord.isTriad() or chord.isSeventh()):
                    ours = parse_chord(labels[np.searchsorted(onsets, float(chord.offset), side="right") - 1])
                    third = chord.third.pitchClass if chord.third else None
                    compared += 1
                    agreed += ours.root == chord.root().pitchClass and third in ours.pitch_classes
    assert compared > 40
    assert agreed >= 0.98 * compared
