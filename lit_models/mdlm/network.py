"""The denoiser: a DiT over plan slots that attends to the observation's cells.

The cells see only each other, never the plan nor the time, so that one observation is encoded once and serves every
draw of a training step and every step of a sampler.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..layers.dit import DiTBlock, KeyValue, Modulations, modulate
from ..layers.embedding import TimeEmbedding

NUM_ACTIONS = 7
"""MiniGrid's actions: left, right, forward, pickup, drop, toggle, done."""
END = 7
"""Output id of the end of a plan."""
MASK = 8
"""Input id of a masked slot; the output head has no class for it."""

AGENT = 10
"""Object id of the agent in a full view."""
OBJECTS, COLOURS, STATES = 11, 6, 4
"""How many ids MiniGrid has for a cell; the state of the agent's cell is its heading, 0 to 3."""


class ObservationLike(Protocol):
    """What the network reads of an observation."""

    @property
    def image(self) -> Tensor:
        """Cells (B, W, H, 3) uint8: object, colour and state ids."""

    @property
    def direction(self) -> Tensor:
        """Heading (B,) int64."""

    @property
    def mission(self) -> Tensor:
        """Word ids (B, N) int64, 0 pads."""


class Memory(NamedTuple):
    """An encoded observation: keys and values of each layer, and the condition of adaLN (B, D)."""

    layers: list[KeyValue]
    condition: Tensor

    def rows(self, index: Tensor) -> "Memory":
        """The rows ``index`` (any length, repeats allowed)."""
        return Memory([KeyValue(k[index], v[index]) for k, v in self.layers], self.condition[index])


def seen_by_agent(image: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where each cell lies, seen by the agent.

    Args:
        image: cells (B, W, H, 3). A full view shows the agent in one cell; a partial view never does, for the agent
            stands in the middle of its lower edge and looks up.
        direction: heading (B,) int64, 0 right, 1 down, 2 left, 3 up.

    Returns:
        Steps ahead and steps to the right of the agent, each (B, W, H) int64.
    """
    _, width, height, _ = image.shape
    agent = (image[..., 0] == AGENT).flatten(1)  # (B, W * H)
    seen = agent.any(dim=1)  # (B,)
    place = torch.where(seen, agent.int().argmax(dim=1), (width // 2) * height + height - 1)  # (B,)
    heading = torch.where(seen, direction, 3)  # (B,)
    column = torch.arange(width, device=image.device)[:, None] - (place // height)[:, None, None]  # (B, W, 1)
    row = torch.arange(height, device=image.device) - (place % height)[:, None, None]  # (B, 1, H)
    east = torch.tensor([1, 0, -1, 0], device=image.device)[heading][:, None, None]  # (B, 1, 1)
    south = torch.tensor([0, 1, 0, -1], device=image.device)[heading][:, None, None]  # (B, 1, 1)
    return column * east + row * south, row * east - column * south


class PlanDiT(nn.Module):
    """DiT with adaLN-zero over plan slots; cells enter as tokens and, pooled, through adaLN.

    Args:
        horizon: plan slots L.
        view_size: width and height of the observed grid.
        num_words: size of the mission's vocabulary, 0 without missions.
        hidden_size: token width D.
        num_layers: blocks.
        num_heads: attention heads.
        mlp_ratio: width of the perceptrons over D.
        dropout: rate in the blocks.
        crop_border: drop the outermost ring of cells (the outer wall of a full view carries nothing).
        time_conditioning: let the plan's adaLN see t.
        egocentric: place cells by their steps ahead of and beside the agent, not by column and row.
    """

    def __init__(
        self,
        horizon: int,
        view_size: Sequence[int],
        num_words: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        crop_border: bool = False,
        time_conditioning: bool = False,
        egocentric: bool = False,
    ) -> None:
        super().__init__()
        self.border = 1 if crop_border else 0
        width, height = (size - 2 * self.border for size in view_size)
        self.objects = nn.Embedding(OBJECTS, hidden_size)
        self.colours = nn.Embedding(COLOURS, hidden_size)
        self.states = nn.Embedding(STATES, hidden_size)
        self.egocentric = egocentric
        self.reach = max(width, height) - 1 if egocentric else 0
        self.across = nn.Embedding(2 * self.reach + 1 if egocentric else width, hidden_size)
        self.along = nn.Embedding(2 * self.reach + 1 if egocentric else height, hidden_size)
        self.directions = nn.Embedding(4, hidden_size)
        self.words = nn.Embedding(num_words + 1, hidden_size)
        self.pool = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))
        self.time = TimeEmbedding(hidden_size) if time_conditioning else None
        self.tokens = nn.Embedding(MASK + 1, hidden_size)
        self.slots = nn.Embedding(horizon, hidden_size)
        self.blocks = nn.ModuleList(DiTBlock(hidden_size, num_heads, mlp_ratio, dropout) for _ in range(num_layers))
        self.modulations = Modulations(hidden_size, num_layers)
        self.head = nn.Linear(hidden_size, END + 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, observation: ObservationLike) -> Memory:
        """Encode observations; rows stay independent of each other and of any plan.

        Args:
            observation: image (B, W, H, 3), direction (B,), mission (B, N).

        Returns:
            Keys and values of the W' x H' + 1 + N observation tokens in each layer, and the condition (B, D).
        """
        x = self._observation_tokens(observation)  # (B, W'H' + 1 + N, D)
        condition = self.pool(x.mean(dim=1))  # (B, D)
        blocks, _ = self.modulations(condition)
        layers = []
        for block, modulation in zip(self.blocks, blocks, strict=True):
            x, own = block(x, modulation)  # (B, W'H' + 1 + N, D)
            layers.append(own)
        return Memory(layers, condition)

    def _observation_tokens(self, observation: ObservationLike) -> Tensor:
        b = self.border
        image = observation.image[:, b : observation.image.shape[1] - b, b : observation.image.shape[2] - b].int()
        cells = self.objects(image[..., 0]) + self.colours(image[..., 1]) + self.states(image[..., 2])  # (B, W', H', D)
        if self.egocentric:
            ahead, aside = seen_by_agent(image, observation.direction)  # two of (B, W', H')
            cells = cells + self.across(aside + self.reach) + self.along(ahead + self.reach)  # (B, W', H', D)
        else:
            cells = cells + self.across.weight[:, None] + self.along.weight  # (B, W', H', D)
        heading = self.directions(observation.direction)[:, None]  # (B, 1, D)
        return torch.cat([cells.flatten(1, 2), heading, self.words(observation.mission)], dim=1)

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
        blocks, (shift, scale) = self._head_split(condition)
        for block, modulation, prefix in zip(self.blocks, blocks, memory.layers, strict=True):
            x, _ = block(x, modulation, prefix)  # (B, L, D)
        return self.head(modulate(x, shift, scale))  # type: ignore[no-any-return]  # (B, L, 8)

    def _head_split(self, condition: Tensor) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        blocks, head = self.modulations(condition)
        return blocks, (head[:, :1], head[:, 1:])
