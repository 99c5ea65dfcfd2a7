"""A checkpoint as a file: the one before it, and a checksum by which flipped bits and missing ends are noticed.

PyTorch's files are ZIP archives whose tensors it reads without looking at their CRC, so that a flipped bit becomes a
weight. The seal is the archive's comment, the one place behind the data that every reader of ZIP files skips: the file
stays one that ``torch.load`` and others open. A second file beside it could not be renamed together with it, and would
stay behind when the checkpoint is copied. Its last 64 characters are the SHA-256 of all bytes before them:
``head -c -64 last.ckpt | sha256sum``.
"""

import hashlib
import io
import os
from pathlib import Path

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

MARK = b"litmotif sha256 "
BEGIN, END = b"PK\x03\x04", b"PK\x05\x06"  # of an archive, and of its last record
END_SIZE = 22  # bytes of that record; the last two are the length of the comment
DIGITS = 64
PICKLE = b"\x80"  # begins what PyTorch wrote before it wrote archives


def predecessor(path: Path) -> Path | None:
    """Where the checkpoint before this one is kept; None for those that keep none."""
    return path.with_name(PREVIOUS) if path.name == LAST else None


def seal(file: io.BufferedRandom) -> None:
    """Append the checksum to a whole archive that has no comment yet.

    Args:
        file: open for reading and writing.
    """
    file.seek(-2, os.SEEK_END)
    file.write((len(MARK) + DIGITS).to_bytes(2, "little") + MARK)
    file.seek(0)
    digits = hashlib.file_digest(file, "sha256").hexdigest()
    file.write(digits.encode())


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or None where nothing can be seen to be wrong.

    A file without a seal (of another program, or of an older version) must only begin and end as an archive.

    Args:
        path: of an existing file.
    """
    with path.open("rb") as file:
        begin = file.read(len(BEGIN))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_SIZE - len(MARK) - DIGITS))
        tail = file.read()
        end = tail.rfind(END)
        if end < 0:
            if begin.startswith(PICKLE):
                return None
            return "its end is missing" if begin == BEGIN else "it is empty" if not size else "it is no archive"
        record, comment = tail[end : end + END_SIZE], tail[end + END_SIZE :]
        if len(record) < END_SIZE or len(comment) != int.from_bytes(record[-2:], "little"):
            return "its end is missing"
        if not comment:
            return None if begin == BEGIN else "it is no archive"
        file.seek(0)
        digest = hashlib.sha256()
        left = size - DIGITS
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return None if comment == MARK + digest.hexdigest().encode() else "its checksum is wrong"
