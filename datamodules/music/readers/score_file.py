"""Score files, as music21 takes them: text in any encoding, and a sentence for what is no score."""

import re
import zipfile
from pathlib import Path
from typing import Any

from litmotif.errors import DataError

LARGEST = 64 * 2**20
"""Bytes of a score, unpacked: a symphony has a tenth of them."""
_DECLARED = re.compile(r"^V:.*$\n?", re.MULTILINE)


def open_scores(path: Path, where: str | None = None) -> list[Any]:
    """The music21 scores of a file, parsed anew (music21's own cache of pickles is left alone).

    Args:
        path: MusicXML, plain or packed, or ABC.
        where: the file, for messages; None takes its name.

    Raises:
        DataError: it is none of these, too large, or broken; names it.
    """
    from music21 import converter, stream

    where = where or path.name
    abc = path.suffix.lower() == ".abc"
    text = abc_text(path.read_bytes()) if abc else _checked(path, where)
    try:
        if abc:
            found = converter.parse(text, format="abc")
        else:
            found = converter.parse(path, forceSource=True, storePickle=False)
    except Exception as error:  # music21 raises what it likes
        kind = type(error).__name__
        raise DataError(
            f"{where}: music21 cannot read it ({kind}: {error}). Export it again, or leave it out."
        ) from error
    return list(found.scores) if isinstance(found, stream.Opus) else [found]


def abc_text(content: bytes) -> str:
    """ABC in UTF-8, or else in Latin-1; voices that are declared before the key are left to where they begin.

    music21 takes a ``V:`` before ``K:`` for an empty part, and loses the key (ABC 2.1, section 4.20).
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parts = re.split(r"(?m)^(?=X:)", text)
    return "".join(_without_declarations(tune) for tune in parts)


def _without_declarations(tune: str) -> str:
    key = re.search(r"(?m)^K:", tune)
    if key is None:
        return tune
    return _DECLARED.sub("", tune[: key.start()]) + tune[key.start() :]


def _checked(path: Path, where: str) -> str:
    """The text of a MusicXML file, of a packed one that of its score.

    Raises:
        DataError: the file is empty, too large, or holds no score by parts.
    """
    if path.suffix.lower() == ".mxl":
        try:
            with zipfile.ZipFile(path) as packed:
                members = [one for one in packed.infolist() if not one.filename.startswith("META-INF")]
                size = sum(one.file_size for one in members)
                scores = [one for one in members if one.filename.lower().endswith((".xml", ".musicxml"))]
                if not scores:
                    raise DataError(f"{where}: no score in it. Export it again, or leave it out.")
                content = packed.read(scores[0]) if size <= LARGEST else b""
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise DataError(f"{where}: no readable .mxl ({error}). Export it again, or leave it out.") from error
    else:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST else b""
    if size > LARGEST:
        raise DataError(f"{where}: {size:,} bytes of score: at most {LARGEST:,}. Leave it out.")
    head = content[:65536].replace(b"\0", b"")  # UTF-16 too
    if b"<score-timewise" in head:
        raise DataError(f"{where}: a score by measures (score-timewise). Export it as score-partwise.")
    if b"<score-partwise" not in head:
        raise DataError(f"{where}: no MusicXML score (score-partwise) in it. Export it again, or leave it out.")
    return content.decode("utf-8", "replace")
