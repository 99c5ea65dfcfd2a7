"""Embeddings of texts on disk: made once, written whole or not at all, checked when read."""

import json
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import platformdirs
import torch
from filelock import FileLock
from torch import Tensor


def cache_folder(cache_dir: str | None = None) -> Path:
    """``cache_dir``, or the environment variable LITMOTIF_CACHE, or the user's cache folder."""
    chosen = cache_dir or os.environ.get("LITMOTIF_CACHE") or platformdirs.user_cache_dir("litmotif", appauthor=False)
    return Path(chosen) / "text"


class TextCache:
    """Embeddings by text, in memory and in one file; one process makes what is missing, the others wait and read.

    Args:
        path: of the file; its name tells the model.
        embed: texts -> embeddings (N, D).
    """

    def __init__(self, path: Path, embed: Callable[[list[str]], Tensor]) -> None:
        self.path, self.embed = path, embed
        self._rows: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed B >= 1 texts as (B, D) float32 on the CPU.

        Raises:
            OSError: they cannot be kept (no space, no permission); names the folder. Nothing half-written is left.
        """
        if any(text not in self._rows for text in texts):
            self._add(texts)
        return torch.stack([self._rows[text] for text in texts])

    def _add(self, texts: Sequence[str]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            raise self._no_room(error) from error
        try:
            self._rows |= self._read()
            missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
            if missing:
                self._rows |= zip(missing, self.embed(missing).float().cpu(), strict=True)
                self._write()
        finally:
            lock.release()

    def _read(self) -> dict[str, Tensor]:
        if not self.path.exists():
            return {}
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # zip checks its CRC-32
                texts = json.loads(archive["texts"].tobytes())
                return dict(zip(texts, torch.from_numpy(archive["embeddings"]), strict=True))
        except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError) as error:
            warnings.warn(f"{self.path} is damaged ({error}); its embeddings are made anew.", stacklevel=2)
            return {}

    def _write(self) -> None:
        texts = np.frombuffer(json.dumps(list(self._rows)).encode(), dtype=np.uint8)
        embeddings = torch.stack(list(self._rows.values())).numpy()
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, suffix=".tmp")
        except OSError as error:
            raise self._no_room(error) from error
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, texts=texts, embeddings=embeddings)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except OSError as error:
            raise self._no_room(error) from error
        finally:
            Path(name).unlink(missing_ok=True)

    def _no_room(self, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"Cannot keep embeddings in {self.path.parent}: {error.strerror}. Make room, or set cache_dir elsewhere.",
        )
