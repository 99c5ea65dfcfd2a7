"""Text embedding: a caption as one vector, learned from hashed words, or by a frozen model from a local folder."""

import hashlib
import importlib
import json
import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from litmotif.cache import cache_folder
from litmotif.errors import ArgumentError, MissingExtraError

from .network import sinusoids
from .text_cache import TextCache

MAX_WORDS = 64
"""Words of a caption that are read."""


def words(text: str) -> list[str]:
    """Words in lower case without punctuation, in any script."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=65_536)
def hashed_word(word: str, buckets: int) -> tuple[int, ...]:
    """A word and its character n-grams as numbers, by CRC-32: the same on each machine and in each process.

    N-grams are of 3 to 5 characters, with < and > at the ends, so that walks, walking and a misspelt wlaking share
    some (Bojanowski et al., arXiv:1607.04606, section 3.2).

    Args:
        word: one of ``words``.
        buckets: numbers N.

    Returns:
        Numbers from 0 to N - 1, the whole word first.
    """
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(part.encode()) % buckets for part in (marked, *(g for g in grams if g != marked)))


class HashedTextEncoder(nn.Module):
    """Learned from nothing: no vocabulary, no download; a function of the string and the weights alone.

    A word is the mean embedding of its hashed parts. A small transformer reads the words in order after a token that
    is always there, so that also an empty caption has an embedding.

    Args:
        size: width D of the result.
        buckets: rows of the table of embeddings; two parts that share one are confused.
        num_layers: transformer layers; 0 reads a bag of words, without order.
        num_heads: attention heads; divides D.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, size: int = 128, buckets: int = 4096, num_layers: int = 1, num_heads: int = 4) -> None:
        super().__init__()
        if size % num_heads:
            raise ArgumentError(f"size={size} does not divide by num_heads={num_heads}.")
        self.size, self.buckets = size, buckets
        self.parts = nn.EmbeddingBag(buckets + 1, size, mode="mean")  # the last one stands before the first word
        nn.init.normal_(self.parts.weight, std=0.5)
        self.register_buffer("positions", sinusoids(MAX_WORDS + 1, size), persistent=False)
        self.positions: Tensor
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, num_heads, 4 * size, 0.0, activation="gelu", batch_first=True, norm_first=True, bias=False
            )
            for _ in range(num_layers)
        )
        self.leave = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Embed B texts as (B, D)."""
        device = self.parts.weight.device
        bags = [[(self.buckets,), *(hashed_word(w, self.buckets) for w in words(text)[:MAX_WORDS])] for text in texts]
        counts = torch.tensor([len(bag) for bag in bags], device=device)  # (B,)
        flat = [part for bag in bags for part in bag]  # one tuple a word
        sizes = torch.tensor([0, *(len(part) for part in flat)], device=device)
        ids = torch.tensor([i for part in flat for i in part], device=device)
        real = torch.arange(max(map(len, bags)), device=device) < counts[:, None]  # (B, W)
        embedded = self.parts(ids, sizes.cumsum(0)[:-1])  # (words of all texts, D)
        x = embedded.new_zeros(*real.shape, self.size)  # (B, W, D)
        x[real] = embedded
        if self.blocks:
            x = x + self.positions[: x.shape[1]]  # (B, W, D)
        for block in self.blocks:
            x = block(x, src_key_padding_mask=~real)  # (B, W, D)
        x = x.masked_fill(~real[..., None], 0)  # (B, W, D)
        return self.leave(x.sum(dim=1) / counts[:, None])  # type: ignore[no-any-return]  # (B, D)


class FrozenTextEncoder:
    """A text model of the transformers library from a local folder, each text embedded once and kept on disk.

    CLIP gives its projected text embedding, any other encoder the mean of its tokens or its first token, as the
    folder's sentence-transformers settings say. Nothing is ever downloaded. The weights belong to the folder, not to
    this object's owner: they are in no checkpoint, and copies share them.

    Args:
        folder: holds config.json, the tokenizer's files and the weights.
        cache_dir: where embeddings are kept; None takes LITMOTIF_CACHE or the user's cache folder.

    Raises:
        FileNotFoundError: no model in the folder.
    """

    def __init__(self, folder: str, cache_dir: str | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise FileNotFoundError(
                f"text_folder={folder!r} holds no config.json: give the folder of a text model, such as a local copy "
                "of openai/clip-vit-base-patch32 or sentence-transformers/all-MiniLM-L6-v2, or take the hashed encoder."
            )
        self._cache = TextCache(cache_folder(cache_dir, "text") / f"{folder_hash(self.folder)}.npz", self._embed)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTextEncoder":
        return self

    @property
    def size(self) -> int:
        """Width D of an embedding."""
        return self([""]).shape[1]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed B texts as (B, D) float32 on the CPU.

        Raises:
            ImportError: a new text, and transformers is not installed.
        """
        return self._cache(texts)

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        try:
            transformers = importlib.import_module("transformers")
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"The text model in {self.folder} needs transformers ({error}): `pip install 'litmotif[text]'`."
            ) from error
        local: dict[str, Any] = {"local_files_only": True}
        kinds = {"clip": "CLIPModel", "clip_text_model": "CLIPTextModelWithProjection"}
        named = transformers.AutoConfig.from_pretrained(self.folder, **local).model_type
        kind = getattr(transformers, kinds.get(named, "AutoModel"))
        model = kind.from_pretrained(self.folder, **local).eval().requires_grad_(False)
        return transformers.AutoTokenizer.from_pretrained(self.folder, **local), model

    @torch.no_grad()
    def _embed(self, texts: list[str]) -> Tensor:
        tokenizer, model = self._model
        config = getattr(model.config, "text_config", model.config)
        limit = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 512))
        found = []
        for start in range(0, len(texts), 64):
            batch = texts[start : start + 64]
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=limit, return_tensors="pt")
            read = {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
            if hasattr(model, "text_projection"):
                found.append(model.text_projection(model.text_model(**read).pooler_output))
            else:
                found.append(self._pool(model(**read).last_hidden_state, read["attention_mask"]))
        return torch.cat(found)

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One vector a text (B, D) from one a token, as sentence-transformers does with this folder."""
        path, modules = self.folder / "1_Pooling" / "config.json", self.folder / "modules.json"
        settings = json.loads(path.read_text()) if path.exists() else {"pooling_mode_mean_tokens": True}
        if settings.get("pooling_mode_mean_tokens"):
            weight = mask[..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        elif settings.get("pooling_mode_cls_token"):
            pooled = hidden[:, 0]
        else:
            raise ArgumentError(f"{path}: only the mean of the tokens and the first token are known as pooling modes.")
        if modules.exists() and any(part["type"].endswith("Normalize") for part in json.loads(modules.read_text())):
            pooled = nn.functional.normalize(pooled, dim=1)
        return pooled


TextEncoder = HashedTextEncoder | FrozenTextEncoder
"""Texts to embeddings (B, ``size``), the frozen ones on the CPU."""


@dataclass(frozen=True)
class Text:
    """Embedding of texts.

    Attributes:
        encoder: ``hashed`` learns words by their hashes and needs nothing else; a folder with a CLIP or
            sentence-transformer model is used frozen; None for a model without text.
        size: width of the hashed encoder.
    """

    encoder: str | None = "hashed"
    size: int = 128


def make_text_encoder(text: Text) -> TextEncoder | None:
    """The encoder of that name."""
    if text.encoder is None:
        return None
    return HashedTextEncoder(text.size) if text.encoder == "hashed" else FrozenTextEncoder(text.encoder)


def folder_hash(folder: Path) -> str:
    """A hash of a model's settings, tokenizer and weights: names and contents, not the place."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".json", ".txt", ".model", ".safetensors", ".bin"}):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return whole.hexdigest()[:24]
