"""Embeddings of texts on disk: each made once."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litmotif.cache import locked, read_arrays, write_arrays

WHAT = "embeddings"


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
        with locked(self.path, WHAT):
            self._rows |= self._read()
            missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
            if missing:
                self._rows |= zip(missing, self.embed(missing).float().cpu(), strict=True)
                names = np.frombuffer(json.dumps(list(self._rows)).encode(), dtype=np.uint8)
                rows = torch.stack(list(self._rows.values())).numpy()
                write_arrays(self.path, {"texts": names, "embeddings": rows}, WHAT)

    def _read(self) -> dict[str, Tensor]:
        kept = read_arrays(self.path, WHAT, ["texts", "embeddings"])
        if kept is None:
            return {}
        return dict(zip(json.loads(kept["texts"].tobytes()), torch.from_numpy(kept["embeddings"]), strict=True))
