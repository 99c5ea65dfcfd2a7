"""Standard MIDI files as symusic takes them: what stands before the header, time codes, sequences one after another."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from litmotif.errors import DataError

HEADER = b"MThd"
INDEPENDENT = 2
"""Format whose tracks are songs of their own."""
DEFAULT_TEMPO = 120.0


class Sequence(NamedTuple):
    """One song of a MIDI file.

    Attributes:
        content: a file of its own, in ticks a quarter.
        ticks: a beat.
        seconds: ticks are of a time code, and a beat is half a second; tempos of the file count for nothing.
    """

    content: bytes
    ticks: float
    seconds: bool


def sequences(content: bytes, where: str) -> tuple[list[Sequence], list[str]]:
    """The songs of a file, and remarks about how it was read.

    Args:
        content: of the file. What stands before ``MThd`` (MacBinary, RIFF) is left out.
        where: the file, for the message.

    Raises:
        DataError: there is no header, or one that says nothing.
    """
    start = content.find(HEADER)
    if start < 0 or len(content) < start + 14:
        raise DataError(f"{where}: no MIDI file: it has no header MThd. Export it again, or leave it out.")
    remarks = [f"{start} bytes before the header left out"] if start else []
    size, kind, count, division = struct.unpack(">IHHh", content[start + 4 : start + 14])
    body = content[start + 8 + size :]
    ticks, seconds = float(division), division < 0
    if seconds:  # the high byte is minus the frames a second, the low one the ticks a frame
        frames, subframes = -(division >> 8), division & 0xFF
        ticks = (30_000 / 1001 if frames == 29 else frames) * subframes * 60 / DEFAULT_TEMPO
        remarks.append(f"times of a code of {frames} frames a second: a beat is half a second")
    if not ticks:
        raise DataError(f"{where}: 0 ticks a beat: its times mean nothing. Export it again, or leave it out.")
    if kind != INDEPENDENT:
        count = max(count, sum(1 for _ in _tracks(body)))  # some writers forget to count
        return [Sequence(_file(min(kind, 1), count, body, ticks), ticks, seconds)], remarks
    return [Sequence(_file(0, 1, track, ticks), ticks, seconds) for track in _tracks(body)], remarks


def _file(kind: int, tracks: int, body: bytes, ticks: float) -> bytes:
    """A file of these tracks; a parser wants whole ticks a quarter, but times are counted in ``ticks``."""
    return HEADER + struct.pack(">IHHH", 6, kind, min(tracks, 0xFFFF), min(max(round(ticks), 1), 0x7FFF)) + body


def _tracks(body: bytes) -> Iterator[bytes]:
    """Track chunks, whole; others are passed over."""
    at = 0
    while at + 8 <= len(body):
        name, size = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "big")
        if name == b"MTrk":
            yield body[at : at + 8 + size]
        at += 8 + size
