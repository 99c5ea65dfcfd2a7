"""Key signatures: sharps and flats as keys, and back."""

from .chords import TONICS

SHARPS = range(-7, 8)
"""Sharps of a key signature (flats where negative); there are no others."""


def key_of_fifths(fifths: int, minor: bool) -> str | None:
    """The key with so many sharps (flats where negative), such as ``A:min``; None where no key has so many."""
    return f"{TONICS[(7 * fifths + 9 * minor) % 12]}:{'min' if minor else 'maj'}" if fifths in SHARPS else None


def fifths_of_key(key: str) -> int:
    """Sharps of a key such as ``A:min``, from 6 to -5: the signature that is written with fewer signs."""
    tonic, _, mode = key.partition(":")
    return (7 * (TONICS.index(tonic) - 9 * (mode == "min")) + 5) % 12 - 5
