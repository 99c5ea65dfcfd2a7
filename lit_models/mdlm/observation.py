"""A grid observation as tokens: one a cell, one for the heading, one a word of the mission."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from litmotif.batches.plans import Observation

EMPTY, AGENT = 1, 10
"""Object ids of an empty cell, and of the agent in a full view."""
OBJECTS, COLOURS, STATES = 11, 6, 4
"""Vocabulary sizes: ids that MiniGrid has for a cell; the state of the agent's cell is its heading, 0 to 3."""

Positions = Literal["absolute", "egocentric", "both"]


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


class ObservationTokens(nn.Module):
    """Embeds cells by object, colour, state and place; ids are never read as numbers.

    Args:
        view_size: width and height of the observed grid.
        num_words: size of the mission's vocabulary, 0 without missions.
        hidden_size: token width D.
        crop_border: drop the outermost ring of cells (the outer wall of a full view carries nothing).
        skip_empty: give no token to empty cells; where nothing is said of a cell, it is empty.
        positions: place cells by column and row, by steps ahead of and beside the agent, or by both.
    """

    def __init__(
        self,
        view_size: Sequence[int],
        num_words: int,
        hidden_size: int,
        crop_border: bool,
        skip_empty: bool,
        positions: Positions,
    ) -> None:
        super().__init__()
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

    def forward(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
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
