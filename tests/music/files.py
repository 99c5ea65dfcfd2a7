"""Small files in the formats that the readers know, written byte by byte or as text."""

import json
import struct
from pathlib import Path

TICKS = 480


def _variable(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body)) + body


def _track(events) -> bytes:
    """Events (tick, bytes) in any order."""
    body, now = b"", 0
    for tick, data in sorted(events, key=lambda event: event[0]):
        body, now = body + _variable(tick - now) + data, tick
    return _chunk(b"MTrk", body + b"\x00\xff\x2f\x00")


def write_midi(path: Path, tracks, tempos=((0, 120.0),), meters=((0, 4, 4),), fifths=None, minor=False) -> Path:
    """A standard MIDI file (format 1).

    ``tracks``: {name: notes}, a note (onset beat, beats, pitch, velocity); the track "drums" is on channel 10.
    """
    meta = [(round(beat * TICKS), b"\xff\x51\x03" + round(6e7 / pace).to_bytes(3, "big")) for beat, pace in tempos]
    meta += [
        (round(beat * TICKS), bytes([0xFF, 0x58, 4, above, below.bit_length() - 1, 24, 8]))
        for beat, above, below in meters
    ]
    if fifths is not None:
        meta.append((0, bytes([0xFF, 0x59, 2, fifths & 0xFF, minor])))
    chunks = [_track(meta)]
    for channel, (name, notes) in enumerate(tracks.items()):
        on = 9 if name == "drums" else channel
        events = [(0, b"\xff\x03" + bytes([len(name)]) + name.encode())]
        for onset, length, pitch, velocity in notes:
            events.append((round(onset * TICKS), bytes([0x90 | on, pitch, velocity])))
            events.append((round((onset + length) * TICKS), bytes([0x80 | on, pitch, 0])))
        chunks.append(_track(events))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_chunk(b"MThd", struct.pack(">HHH", 1, len(chunks), TICKS)) + b"".join(chunks))
    return path


SCALE = tuple((float(k), 1.0, 60 + k, 80) for k in range(8))


def write_groove(root: Path, rows=(("a", "train"), ("b", "validation"), ("c", "test"))) -> Path:
    """The Groove MIDI layout."""
    lines = [
        "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split",
        *(
            f"d1,d1/s{k},d1/s{k}/{name},rock/half,{100 + k},beat,4-4,d1/{name}.mid,d1/{name}.wav,1.0,{split}"
            for k, (name, split) in enumerate(rows)
        ),
    ]
    for k, (name, _) in enumerate(rows):
        write_midi(
            root / f"d1/{name}.mid", {"drums": [(0.0, 0.1, 36, 100), (0.5 + k / 100, 0.1, 42, 50)]}, [(0, 100 + k)]
        )
    (root / "info.csv").write_text("\n".join(lines) + "\n")
    return root


def write_pop909(root: Path, chords: str = "C:maj", pickup: float = 0.0) -> Path:
    """One song of the POP909 layout: a header of 90 quarters a minute, beats that slow down, 1 s off.

    The first note lies ``pickup`` beats before the first beat of the file.
    """
    folder = root / "001"
    beats = [1.0, 1.5, 2.0, 2.6, 3.2, 3.9, 4.6, 5.3, 6.0]  # seconds
    onsets = [1.0 - 0.5 * pickup, 1.25, 2.3, 3.2]
    notes = [(second * 1.5, 0.3, 60 + k, 70 + k) for k, second in enumerate(onsets)]
    write_midi(folder / "001.mid", {"MELODY": notes, "PIANO": [(2 * 1.5, 1.0, 40, 60)]}, [(0, 90.0)])
    (folder / "beat_midi.txt").write_text("".join(f"{t} {1 - k % 2} {int(k % 4 == 0)}\n" for k, t in enumerate(beats)))
    (folder / "chord_midi.txt").write_text(f"1.0\t2.600001\t{chords}\n2.600001\t3.2\tA:min7/b3\n3.2\t6.0\tA:min7\n")
    (folder / "key_audio.txt").write_text("0.5\t6.0\tGb:maj\n")
    return root


def write_vgmidi(root: Path) -> Path:
    """Two rated pieces of the VGMIDI layout, one of them without its MIDI file."""
    annotations = {
        "piece0_1": {"valence": [0.1, 0.3, 0.5, 0.7], "arousal": [-0.2, -0.2, -0.2, -0.2]},
        "piece0_2": {"valence": [-0.1, 0.1, 0.3, 0.5], "arousal": [0.0, -0.4, 0.0, -0.4]},
        "piece0_3": {"valence": [1.0, 1.0], "arousal": [1.0, 1.0]},  # not the usual length
        "piece1_1": {"valence": [0.0], "arousal": [0.0]},
    }
    pieces = {
        "piece0": {"midi": "Series A_NES_Game_Piece.mid", "name": "Piece"},
        "piece1": {"midi": "B_NES_Game_Lost.mid", "name": "Lost"},
    }
    write_midi(root / "midi/Series A_NES_Game_Piece.mid", {"piano": SCALE})
    book = root / "annotations/vgmidi_raw_1.json"
    book.parent.mkdir(parents=True)
    book.write_text(json.dumps({"annotations": annotations, "pieces": pieces}))
    return root
