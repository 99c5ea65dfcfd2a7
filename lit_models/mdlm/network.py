"""The denoiser: a DiT over plan slots that attends to the tokens of the observation.

The observation's tokens see only each other, never the plan nor the time, so that one observation is encoded once and
serves every draw of a training step and every step of a sampler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litmotif.batches.plans import Observation

from ..layers.dit import DiTBlock, KeyValue, Modulations, TimeEmbedding, modulate
from ..layers.sizes import TransformerSizes
from .observation import ObservationTokens, Positions

NUM_ACTIONS = 7
"""MiniGrid's actions: left, right, forward, pickup, drop, toggle, done."""
END = 7
"""Output id of the end of a plan."""
MASK = 8
"""Input id of a masked slot; the output head has no class for it."""


@dataclass(frozen=True)
class Network(TransformerSizes):
    """Sizes of ``PlanDiT``, and what it is told.

    Attributes:
        crop_border: drop the outermost ring of cells, the outer wall of a full view.
        skip_empty: give no token to empty cells; where nothing is said of a cell, it is empty.
        positions: place cells by column and row (``absolute``), by steps ahead of and beside the agent
            (``egocentric``), or by ``both``.
        time_conditioning: show t to the plan's adaLN (not needed in theory: arXiv:2409.02908).
    """

    crop_border: bool = False
    skip_empty: bool = False
    positions: Positions = "absolute"
    time_conditioning: bool = False


class Memory(NamedTuple):
    """An encoded observation.

    Attributes:
        layers: keys and values of its N tokens in each layer.
        real: (B, N) bool: tokens that are no padding; None where all are.
        condition: (B, D): what adaLN is told.
    """

    layers: list[KeyValue]
    real: Tensor | None
    condition: Tensor

    def rows(self, index: Tensor) -> "Memory":
        """The rows ``index`` (any length, repeats allowed)."""
        real = None if self.real is None else self.real[index]
        return Memory([KeyValue(k[index], v[index]) for k, v in self.layers], real, self.condition[index])


class PlanDiT(nn.Module):
    """DiT with adaLN-zero over plan slots; the observation enters as tokens and, pooled, through adaLN.

    Args:
        horizon: plan slots L.
        view_size: width and height of the observed grid.
        num_words: size of the mission's vocabulary, 0 without missions.
        network: its sizes.
    """

    def __init__(self, horizon: int, view_size: Sequence[int], num_words: int, network: Network = Network()) -> None:
        super().__init__()
        hidden_size, num_layers = network.hidden_size, network.num_layers
        cells = (network.crop_border, network.skip_empty, network.positions)
        self.observation = ObservationTokens(view_size, num_words, hidden_size, *cells)
        self.pool = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))
        self.time = TimeEmbedding(hidden_size) if network.time_conditioning else None
        self.tokens = nn.Embedding(MASK + 1, hidden_size)
        self.slots = nn.Embedding(horizon, hidden_size)
        sizes = (hidden_size, network.num_heads, network.mlp_ratio, network.dropout)
        self.blocks = nn.ModuleList(DiTBlock(*sizes) for _ in range(num_layers))
        self.modulations = Modulations(hidden_size, num_layers)
        self.head = nn.Linear(hidden_size, END + 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, observation: Observation) -> Memory:
        """Encode observations; rows stay independent of each other and of any plan.

        Args:
            observation: image (B, W, H, 3), direction (B,), mission (B, N).

        Returns:
            Keys and values of the observation's tokens in each layer, and the condition (B, D).
        """
        x, real = self.observation(observation)  # (B, N, D), (B, N)
        weight = torch.ones_like(x[..., :1]) if real is None else real[..., None].to(x.dtype)  # (B, N, 1)
        condition = self.pool((x * weight).sum(dim=1) / weight.sum(dim=1))  # (B, D)
        visible = None if real is None else real[:, None, None]  # (B, 1, 1, N)
        blocks, _ = self.modulations(condition)
        layers = []
        for block, modulation in zip(self.blocks, blocks, strict=True):
            x, own = block(x, modulation, visible=visible)  # (B, N, D)
            layers.append(own)
        return Memory(layers, real, condition)

    def decode(self, tokens: Tensor, memory: Memory, t: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Predict the clean token of each slot.

        Args:
            tokens: plan slots (B, L) int64, masked ones ``MASK``.
            memory: the encoded observations, B rows.
            t: diffusion time (B,), read under time conditioning only.
            noise: (B, L, D) added to masked slots (the ``noise`` corruption), whose MASK embedding then says that they
                are masked.

        Returns:
            Logits (B, L, 8): seven actions and END.
        """
        x = self.tokens(tokens) + self.slots.weight  # (B, L, D)
        if noise is not None:
            x = torch.where((tokens == MASK)[..., None], x + noise, x)  # (B, L, D)
        condition = memory.condition  # (B, D)
        if self.time is not None and t is not None:
            condition = condition + self.time(t)  # (B, D)
        visible = None
        if memory.real is not None:
            visible = torch.cat([memory.real, memory.real.new_ones(tokens.shape)], dim=1)[:, None, None]  # (B,1,1,N+L)
        blocks, head = self.modulations(condition)  # layers of (B, 6, D), (B, 2, D)
        for block, modulation, prefix in zip(self.blocks, blocks, memory.layers, strict=True):
            x, _ = block(x, modulation, prefix, visible)  # (B, L, D)
        return self.head(modulate(x, head[:, :1], head[:, 1:]))  # type: ignore[no-any-return]  # (B, L, 8)
