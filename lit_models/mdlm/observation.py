"""A grid observation as tokens: one a cell, one for the heading, one a word of the mission."""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

EMPTY, AGENT = 1, 10
"""Object ids of an empty cell, and of the agent in a full view."""
OBJECTS, COLOURS, STATES = 11, 6, 4
"""How many ids MiniGrid has for a cell; the state of the agent's cell is its heading, 0 to 3."""

Positions = Literal["absolute", "egocentric", "both"]


class ObservationLike(Protocol):
    """What a module reads of an observation."""

    @property
    def image(self) -> Tensor:
        """Cells (B, W, H, 3) uint8: object, colour and state ids."""

    @property
    def direction(self) -> Tensor:
        """Heading (B,) int64."""

    @property
    def mission(self) -> Tensor:
        """Word ids (B, N) int64, 0 pads."""


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


class GridSweeps(nn.Module):
    """Lets news spread over the grid: one residual 3 x 3 convolution, applied again and again.

    Like value iteration (Tamar et al., arXiv:1602.02867), n sweeps carry what a cell knows n cells far, with the
    weights of one; attention alone has to learn each pair of places.

    Args:
        size: channels C.
        sweeps: how often it is applied.
        hidden_size: token width D that the result is mapped to.
    """

    def __init__(self, size: int, sweeps: int, hidden_size: int) -> None:
        super().__init__()
        self.sweeps = sweeps
        self.cells = nn.Embedding(OBJECTS * STATES, size)
        self.norm = nn.GroupNorm(1, size)
        self.spread = nn.Conv2d(size, 2 * size, 3, padding=1)
        self.mix = nn.Conv2d(size, size, 1)
        self.out = nn.Linear(size, hidden_size)

    def forward(self, image: Tensor) -> Tensor:
        """Map cells (B, W, H, 3) to features (B, W * H, D)."""
        x = self.cells(image[..., 0] * STATES + image[..., 2]).permute(0, 3, 1, 2)  # (B, C, W, H)
        for _ in range(self.sweeps):
            value, gate = self.spread(self.norm(x)).chunk(2, dim=1)  # two of (B, C, W, H)
            x = x + self.mix(value * gate.sigmoid())  # (B, C, W, H)
        return self.out(x.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]  # (B, W * H, D)


class ObservationTokens(nn.Module):
    """Embeds cells by object, colour, state and place; ids are never read as numbers.

    Args:
        view_size: width and height of the observed grid.
        num_words: size of the mission's vocabulary, 0 without missions.
        hidden_size: token width D.
        crop_border: drop the outermost ring of cells (the outer wall of a full view carries nothing).
        skip_empty: give no token to empty cells; where nothing is said of a cell, it is empty.
        positions: place cells by column and row, by steps ahead of and beside the agent, or by both.
        sweeps: see ``GridSweeps``; 0 does without.
        sweep_size: its channels.
    """

    def __init__(
        self,
        view_size: Sequence[int],
        num_words: int,
        hidden_size: int,
        crop_border: bool,
        skip_empty: bool,
        positions: Positions,
        sweeps: int = 0,
        sweep_size: int = 32,
    ) -> None:
        super().__init__()
        self.sweeps = GridSweeps(sweep_size, sweeps, hidden_size) if sweeps else None
        self.border, self.skip_empty = int(crop_border), skip_empty
        width, height = (size - 2 * self.border for size in view_size)
        self.reach = max(width, height) - 1
        self.objects = nn.Embedding(OBJECTS, hidden_size)
        self.colours = nn.Embedding(COLOURS, hidden_size)
        self.states = nn.Embedding(STATES, hidden_size)
        absolute, egocentric = positions != "egocentric", positions != "absolute"
        self.columns = nn.Embedding(width, hidden_size) if absolute else None
        self.rows = nn.Embedding(height, hidden_size) if absolute else None
        self.ahead = nn.Embedding(2 * self.reach + 1, hidden_size) if egocentric else None
        self.aside = nn.Embedding(2 * self.reach + 1, hidden_size) if egocentric else None
        self.directions = nn.Embedding(4, hidden_size)
        self.words = nn.Embedding(num_words + 1, hidden_size)

    def forward(self, observation: ObservationLike) -> tuple[Tensor, Tensor | None]:
        """Embed an observation.

        Returns:
            Tokens (B, N, D), and which of them are real (B, N) bool; None where all are.
        """
        b, image = self.border, observation.image
        image = image[:, b : image.shape[1] - b, b : image.shape[2] - b].int()  # (B, W', H', 3)
        order, real = self._chosen(image[..., 0].flatten(1))  # two of (B, C)
        ids = image.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, 3))  # (B, C, 3)
        cells = self.objects(ids[..., 0]) + self.colours(ids[..., 1]) + self.states(ids[..., 2])  # (B, C, D)
        cells = cells + self._places(image, observation.direction, order)  # (B, C, D)
        if self.sweeps is not None:
            swept = self.sweeps(image)  # (B, W'H', D)
            cells = cells + swept.gather(1, order[..., None].expand(-1, -1, swept.shape[-1]))  # (B, C, D)
        others = torch.cat([self.directions(observation.direction)[:, None], self.words(observation.mission)], dim=1)
        if bool(real.all()):
            return torch.cat([cells, others], dim=1), None
        return torch.cat([cells, others], dim=1), torch.cat([real, real.new_ones(others.shape[:2])], dim=1)

    def _chosen(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        occupied = objects != EMPTY  # (B, W'H')
        if not self.skip_empty:
            return torch.arange(objects.shape[1], device=objects.device).expand_as(objects), torch.ones_like(occupied)
        most = int(occupied.sum(dim=1).max())
        first = occupied.int().sort(dim=1, descending=True, stable=True)
        return first.indices[:, :most], first.values[:, :most].bool()

    def _places(self, image: Tensor, direction: Tensor, order: Tensor) -> Tensor:
        height = image.shape[2]
        place = torch.zeros((), device=image.device)
        if self.columns is not None and self.rows is not None:
            place = place + self.columns(order // height) + self.rows(order % height)  # (B, C, D)
        if self.ahead is not None and self.aside is not None:
            ahead, aside = (steps.flatten(1).gather(1, order) for steps in seen_by_agent(image, direction))  # (B, C)
            place = place + self.ahead(ahead + self.reach) + self.aside(aside + self.reach)  # (B, C, D)
        return place
