"""Costs of what to keep clear of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from litmotif.errors import ArgumentError
from litmotif.geometry.rotations import turned

from ..frames import body_positions
from .base import Cost, Values
from .distance import barrier, length, to_boxes, to_discs, to_spheres


@dataclass(frozen=True, eq=False)
class Obstacles(Cost):
    """Keep clear of things: sum B(SDF(p_b) - r_b, delta) over steps and bodies, with B of ``distance.barrier``.

    SDF is the distance to the nearest obstacle, negative inside. Distances are metres.

    Attributes:
        discs: x, y, radius (M, 3), upright cylinders without end where bodies move in space.
        spheres: x, y, z, radius (M, 4).
        boxes: x, y, yaw, half length, half width (M, 5), or with z and half height behind them (M, 7).
        bodies: names of those that keep clear; None takes the root.
        radius: r_b, one for all or one for each body.
        delta: where the barrier turns from a logarithm into a parabola, > 0.

    Raises:
        ValueError: nothing to keep clear of, a wrong number of columns, an unknown body, or a layout without what is
            needed.
    """

    discs: Values | None = None
    spheres: Values | None = None
    boxes: Values | None = None
    bodies: Sequence[str] | None = None
    radius: Values = 0.0
    delta: float = 0.1

    def __post_init__(self) -> None:
        spatial = self.layout.root == "spatial"
        self.layout.slice("root_pos")
        if self.discs is self.spheres is self.boxes is None:
            raise ArgumentError("give discs, spheres or boxes.")
        sizes = {"discs": (3,), "spheres": (4,), "boxes": (5, 7) if spatial else (5,)}
        for name, _ in self._shapes():
            self.require(name, *sizes[name])
        if not spatial and (self.spheres is not None or self.bodies is not None):
            raise ArgumentError(
                f"spheres and bodies are in space; root={self.layout.root!r} knows discs and boxes of 5."
            )
        if self.bodies is not None:
            self.layout.slice("body_pos")
            for body in self.bodies:
                self.layout.body(body)
        if self.delta <= 0:
            raise ArgumentError(f"delta={self.delta}: above 0 m.")

    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """See ``Cost.of_future``."""
        points = self.points(states)  # (B, H, P, D)
        found = [distance(points, self.per_sample(name, states, 2)) for name, distance in self._shapes()]
        if not found:
            return states.new_zeros(len(states))
        clear = torch.cat(found, dim=-1).amin(dim=-1)  # (B, H, P)
        return barrier(clear - torch.as_tensor(self.radius).to(states), self.delta).sum(dim=(1, 2))

    def _shapes(self) -> list[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
        """The kinds of obstacles that are there, with their distances."""
        kinds = (("discs", to_discs), ("spheres", to_spheres), ("boxes", to_boxes))
        given = [(name, distance, getattr(self, name)) for name, distance in kinds]
        return [
            (name, distance) for name, distance, value in given if value is not None and torch.as_tensor(value).numel()
        ]

    def points(self, states: Tensor) -> Tensor:
        """What keeps clear, in the character frame: (B, H, P, 2 or 3) m."""
        if self.bodies is None:
            return states[..., None, self.layout.slice("root_pos")]
        return body_positions(states, self.layout, [self.layout.body(body) for body in self.bodies])


@dataclass(frozen=True, eq=False)
class AgentAvoidance(Cost):
    """Keep a distance from others: sum B(||p - q|| - distance, delta) over steps and others.

    Attributes:
        distance: between the centres, m.
        paths: where M others will be, x and y for all W steps of the window (M, W, 2) m; None: the samples of the batch
            are the agents and keep away from one another. Each pair then counts half in both rows, so that the sum
            over the batch pushes either with the full slope.
        poses: x, y, yaw of each sample's character frame in one frame for all (B, 3); None if they are the same.
        delta: where the barrier turns from a logarithm into a parabola, > 0.

    Raises:
        ValueError: numbers that do not fit together, or a layout without a root.
    """

    distance: float
    paths: Values | None = None
    poses: Values | None = None
    delta: float = 0.1

    def __post_init__(self) -> None:
        self.layout.slice("root_pos")
        if self.paths is not None:
            self.require("paths", 2)
        if self.poses is not None:
            self.require("poses", 3)
        if self.paths is not None and self.poses is not None:
            raise ArgumentError("poses say where the samples of a batch stand to one another; paths need none.")
        if self.delta <= 0:
            raise ArgumentError(f"delta={self.delta}: above 0 m.")

    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """See ``Cost.of_future``."""
        here = states[..., self.layout.slice("root_pos")][..., :2]  # (B, H, 2)
        if self.paths is not None:
            others = self.per_sample("paths", states, 3)[:, :, self.history + 1 :]  # (B or 1, M, H, 2)
            return self._near(here[:, None] - others).sum(dim=(1, 2))
        if self.poses is not None:
            poses = torch.as_tensor(self.poses).to(states)[:, None]  # (B, 1, 3)
            here = turned(here, poses[..., 2]) + poses[..., :2]
        apart = ~torch.eye(len(here), dtype=torch.bool, device=here.device)
        return (self._near(here[:, None] - here[None]).sum(dim=2) * apart).sum(dim=1) / 2

    def _near(self, offset: Tensor) -> Tensor:
        return barrier(length(offset) - self.distance, self.delta)
