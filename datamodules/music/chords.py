"""Chord symbols, in Harte's notation, of lead sheets and of music21, as root, quality and class."""

import re
from typing import Literal, NamedTuple

from litmotif.errors import DataError

QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "hdim7": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "aug7": (0, 4, 8, 10),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7sus4": (0, 5, 7, 10),
    "5": (0, 7),
    "1": (0,),
}
"""Semitones above the root."""

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
NO_CHORD = "N"
TRIADS = (*(f"{root}:maj" for root in TONICS), *(f"{root}:min" for root in TONICS), NO_CHORD)
"""25 classes: a chord counts by its third (sus, power and augmented chords as major; diminished ones as minor)."""
EXTENDED = (*TRIADS, *(f"{root}:{quality}" for quality in ("7", "min7", "maj7") for root in TONICS), "sus")
"""62 classes: triads, three kinds of seventh chord on each root, and suspended chords of any root."""
Vocabulary = Literal["triads", "extended"]
VOCABULARIES: dict[str, tuple[str, ...]] = {"triads": TRIADS, "extended": EXTENDED}

_SEVENTHS = {"7": 0, "aug7": 0, "min7": 1, "hdim7": 1, "maj7": 2}
_MINOR = {quality for quality, tones in QUALITIES.items() if 3 in tones}
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"#": 1, "♯": 1, "b": -1, "♭": -1, "-": -1, "x": 2}
_SILENT = {"N", "NC", "N.C.", "X", "NOCHORD", "", "NONE"}
_BASES = (  # spelling of the third or of the whole stem, longest first
    (r"half-?dim(?:inished)?|hdim|ø|Ø|/o", "hdim"),
    (r"minmaj|mmaj|min/maj|m/M|mM|minM|m\+(?=7)|-maj|-M|-Δ|-\^", "minmaj"),
    (r"major|maj|Maj|MAJ|ma(?!j)|M|Δ|\^|△", "maj"),
    (r"minor|min|Min|MIN|mi|m|-", "min"),
    (r"dim(?:inished)?|o|°|º", "dim"),
    (r"aug(?:mented)?|\+", "aug"),
    (r"dom(?:inant)?", "dom"),
)
_STEM = re.compile("|".join(f"(?P<{name}>{spelling})" for spelling, name in _BASES))
_ROOT = r"([A-G])([#♯b♭x]*)"
_MUSIC21_ROOT = r"([A-G])([#♯-]*)"
_REST = re.compile(
    r"(?:add\s*[b#]?\d+|sus\s*[24]*(?![0-9])|omit\s*\d+|no\s*\d+|alter\s*[b#]\d+|alt|maj7|Maj7|ma7|M7|Δ7?|\*?[b#♭♯+-]\d+|\d+|[(),\s/])"
)
_NUMBERS = {"6": "6", "69": "6", "7": "7", "9": "7", "11": "7", "13": "7"}
_DEGREES = {"1": 0, "2": 2, "3": 4, "4": 5, "5": 7, "6": 9, "7": 11, "9": 2, "11": 5, "13": 9}


class Harmony(NamedTuple):
    """A chord: ``root`` and ``bass`` are pitch classes 0-11 (C = 0), None where there is no chord."""

    root: int | None
    quality: str
    """A key of ``QUALITIES``, or ``N``."""
    bass: int | None = None

    @property
    def label(self) -> str:
        """In Harte's notation, without the bass."""
        return NO_CHORD if self.root is None else f"{TONICS[self.root]}:{self.quality}"

    @property
    def pitch_classes(self) -> frozenset[int]:
        """Of its tones, without the bass."""
        tones = () if self.root is None else QUALITIES[self.quality]
        return frozenset(((self.root or 0) + tone) % 12 for tone in tones)

    def class_index(self, vocabulary: Vocabulary = "triads") -> int:
        """Its class in ``TRIADS`` or ``EXTENDED``."""
        if self.root is None:
            return TRIADS.index(NO_CHORD)
        if vocabulary == "extended" and self.quality in _SEVENTHS:
            return len(TRIADS) + 12 * _SEVENTHS[self.quality] + self.root
        if vocabulary == "extended" and "sus" in self.quality:
            return EXTENDED.index("sus")
        return self.root + 12 * (self.quality in _MINOR)


NONE = Harmony(None, NO_CHORD)


def parse_chord(
    symbol: str,
    where: str = "",
    unknown: Literal["error", "none"] = "error",
    minus: Literal["minor", "flat"] = "minor",
) -> Harmony:
    """Read a chord symbol.

    Args:
        symbol: ``C:min7/b3`` (Harte et al. 2005), ``Cm7``, ``F#maj7``, ``Bb/D`` (lead sheets), ``B-m7`` (music21).
        where: file and place, for the message.
        unknown: what to do with a symbol that is none: an error, or no chord.
        minus: what ``-`` after the root means: a minor chord as in lead sheets, or a flat as in music21.

    Raises:
        DataError: it cannot be read; names the place and the symbol.
    """
    text = symbol.strip()
    if text.upper() in _SILENT:
        return NONE
    match = re.match(_MUSIC21_ROOT if minus == "flat" else _ROOT, text)
    quality = bass = None
    if match:
        root = _pitch_class(match)
        rest, bass = _split_bass(text[match.end() :], root, minus)
        quality = _harte(rest[1:]) if rest.startswith(":") else _lead_sheet(rest)
    if match is None or quality is None:
        if unknown == "none":
            return NONE
        raise DataError(
            f"{where or 'chord'}: no chord symbol: {symbol!r}. Known are such as C:min7/b3, Cm7, F#maj7, Bb/D, N. "
            "Correct it, or let it count as no chord: reader_options: {unknown_chord: none}."
        )
    return Harmony(root, quality, bass)


def _pitch_class(match: re.Match[str]) -> int:
    return (_STEPS[match[1]] + sum(_ACCIDENTALS[sign] for sign in match[2])) % 12


def _split_bass(rest: str, root: int, minus: str) -> tuple[str, int]:
    """Take a bass note (``/D``) or degree (``/b3``) off; the pitch class of the root where there is none."""
    note = re.search(f"/{_MUSIC21_ROOT if minus == 'flat' else _ROOT}$", rest)
    if note:
        return rest[: note.start()], _pitch_class(note)
    degree = re.search(r"/([b#]*)(1[13]|[1-79])$", rest)
    if degree and not (degree[2] == "9" and rest[: degree.start()].endswith("6")):  # 6/9 is a chord
        return rest[: degree.start()], (root + _degree(degree)) % 12
    return rest, root


def _degree(match: re.Match[str]) -> int:
    return _DEGREES[match[2]] + sum(_ACCIDENTALS[sign] for sign in match[1])


_HARTE = {
    "": "maj",
    "6": "maj6",
    "9": "7",
    "11": "7",
    "13": "7",
    "maj9": "maj7",
    "maj11": "maj7",
    "maj13": "maj7",
    "min9": "min7",
    "min11": "min7",
    "min13": "min7",
    "sus": "sus4",
} | {quality: quality for quality in QUALITIES}


def _harte(rest: str) -> str | None:
    """Quality of a shorthand with degrees, such as ``sus4(b7)``; of bare degrees by their third, fifth, seventh."""
    match = re.fullmatch(r"([a-z0-9]*)(?:\(([^()]*)\))?", rest)
    if not match:
        return None
    degrees = [
        re.fullmatch(r"(\*?)([b#]*)(1[13]|[1-79])", item.strip()) for item in (match[2] or "").split(",") if item
    ]
    if any(degree is None for degree in degrees):
        return None
    found = [(d[1], (_DEGREES[d[3]] + sum(_ACCIDENTALS[sign] for sign in d[2])) % 12, d[3]) for d in degrees if d]
    if not match[1] and found:
        return _of_tones({0, *(tone for gone, tone, number in found if not gone and number in "1234567")})
    quality = _HARTE.get(match[1])
    if quality is None:
        return None
    tones = set(QUALITIES[quality])
    for gone, tone, number in found:
        if gone:
            tones.discard(tone)
        elif number == "7" or (number == "6" and len(tones) == 3):
            tones.add(tone)
    return _of_tones(tones) or quality


def _of_tones(tones: set[int]) -> str | None:
    """The quality with exactly these tones, or the one with the same third, fifth and seventh."""
    for quality, wanted in QUALITIES.items():
        if tones == set(wanted):
            return quality
    third = next((tone for tone in (4, 3, 5, 2) if tone in tones), None)
    fifth = next((tone for tone in (7, 6, 8) if tone in tones), 7)
    seventh = next((tone for tone in (10, 11, 9) if tone in tones), None)
    core = {0, fifth, *(tone for tone in (third, seventh) if tone is not None)}
    for wanted_tones in (core, core - {seventh}, {0, third, 7} - {None}):
        for quality, wanted in QUALITIES.items():
            if wanted_tones == set(wanted):
                return quality
    return None


def _lead_sheet(rest: str) -> str | None:
    """Quality of what follows the root in a lead sheet: stem, number, alterations."""
    stem = _STEM.match(rest)
    base = stem.lastgroup if stem else ""
    tail = rest[stem.end() :] if stem else rest
    parts = _REST.findall(tail)
    if "".join(parts) != tail:
        return None
    sus = next((part.replace(" ", "") for part in parts if part.startswith("sus")), None)
    numbers = "".join(part for part in parts if part.isdigit())
    number = next((_NUMBERS[key] for key in (numbers, numbers[:2], numbers[:1]) if key in _NUMBERS), None)
    if numbers and number is None and numbers not in ("2", "4", "5"):
        return None
    if any(part.lower() in ("maj7", "ma7", "δ", "δ7") or part == "M7" for part in parts):
        base, number = ("minmaj" if base == "min" else "maj"), "7"
    if sus or (not base and numbers in ("2", "4")):
        two = (sus or numbers) in ("sus2", "2")
        return "sus2" if two else "7sus4" if number == "7" else "sus4"
    if not base and numbers == "5":
        return "5"
    signs = {part.strip("*").replace("♭", "b").replace("♯", "#").replace("-", "b").replace("+", "#") for part in parts}
    flat, sharp = bool(signs & {"b5", "alterb5"}), bool(signs & {"#5", "alter#5", "b13", "alt"})
    whole = {
        "hdim": "hdim7",
        "minmaj": "minmaj7",
        "dim": "dim7" if number == "7" else "dim",
        "aug": "aug7" if number == "7" else "aug",
        "maj": {"7": "maj7", "6": "maj6"}.get(number or "", "maj7" if rest[:1] in "Δ△^" and rest else "maj"),
        "min": {"7": "hdim7" if flat else "min7", "6": "min6"}.get(number or "", "dim" if flat else "min"),
        "dom": "7",
    }
    if base:
        return whole[base]
    if number == "7" or "alt" in signs:
        return "aug7" if sharp else "7"
    return "maj6" if number == "6" else "aug" if sharp else "maj"
