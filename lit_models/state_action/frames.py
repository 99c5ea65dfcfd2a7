"""From each step's local frame to the character frame, differentiable."""

import roma
import torch
from torch import Tensor

from litmotif.errors import ArgumentError
from litmotif.geometry import rotations

from .layout import ROOT_SLICES, StateLayout


def heading(states: Tensor, layout: StateLayout) -> Tensor:
    """Yaw of the root's x axis.

    Args:
        states: physical (..., S), of a layout with a root.
        layout: of the columns.

    Returns:
        (...) rad, in the character frame.
    """
    rotation = states[..., layout.slice("root_rot")]
    if layout.root == "planar":
        return rotation[..., 0]
    return rotations.heading(rotations.smooth_quaternion(rotation))


def body_positions(states: Tensor, layout: StateLayout, bodies: list[int] | None = None) -> Tensor:
    """Where bodies are in the character frame of the window.

    Args:
        states: physical (..., S), of a layout with a spatial root and ``body_pos``.
        layout: of the columns.
        bodies: numbers of the wanted P bodies; None takes all.

    Returns:
        (..., P, 3) m.
    """
    local = states[..., layout.slice("body_pos")].reshape(*states.shape[:-1], -1, 3)  # (..., B, 3)
    if bodies is not None:
        local = local[..., bodies, :]  # (..., P, 3)
    if layout.root is None:
        return local
    plane = rotations.turned(local[..., :2], heading(states, layout)[..., None])  # (..., P, 2)
    ground = states[..., layout.slice("root_pos")][..., None, :2]  # (..., 1, 2)
    return torch.cat([plane + ground, local[..., 2:]], dim=-1)  # (..., P, 3)


def positions(states: Tensor, layout: StateLayout) -> Tensor | None:
    """All that has a position: the root, then the bodies.

    Args:
        states: physical (..., S).
        layout: of the columns.

    Returns:
        (..., P, 2 or 3) m in the character frame; None if the layout knows no positions.
    """
    found = []
    if layout.root is not None:
        found.append(states[..., None, layout.slice("root_pos")])
    if "body_pos" in layout and layout.root != "planar":
        found.append(body_positions(states, layout))
    return torch.cat(found, dim=-2) if found else None


def reframed(states: Tensor, layout: StateLayout, place: Tensor, angle: Tensor) -> Tensor:
    """States in another character frame; what is in each step's own frame stays.

    Args:
        states: physical (B, W, S).
        layout: of the columns.
        place: where the origin of their frame lies in the other one (B, 2) m, on the ground.
        angle: how far their frame is turned in the other one (B,) rad.

    Raises:
        ValueError: columns in the character frame that are not the root's.
    """
    roots = [name for name, _ in ROOT_SLICES[layout.root]]
    strange = [columns.name for columns in layout.state if columns.frame == "character" and columns.name not in roots]
    if strange:
        raise ArgumentError(
            f"{', '.join(strange)}: in the character frame, yet not of the root: nobody knows how it moves."
        )
    if layout.root is None:
        return states
    moved, angle = states.clone(), angle[:, None]
    position, velocity, turn = (layout.slice(name) for name in roots)
    flat, drift = slice(position.start, position.start + 2), slice(velocity.start, velocity.start + 2)
    moved[..., flat] = rotations.turned(states[..., flat], angle) + place[:, None]
    moved[..., drift] = rotations.turned(states[..., drift], angle)
    if layout.root == "planar":
        moved[..., turn] = states[..., turn] + angle[..., None]
    else:
        about = rotations.about("z", angle)
        turned = roma.quat_product(about, roma.rotvec_to_unitquat(states[..., turn]))
        moved[..., turn] = roma.unitquat_to_rotvec(turned)
    return moved


def moved_on(states: Tensor, layout: StateLayout, past: Tensor, steps: int) -> Tensor:
    """States of a plan, as seen ``steps`` later.

    Args:
        states: physical (B, W, S), in the character frame of the step at which they were planned.
        layout: of the columns.
        past: what has happened (B, N + 1, S), in the character frame of its last step, which is ``steps`` after that.
        steps: 1 to N.

    Raises:
        ValueError: see ``reframed``.
    """
    if layout.root is None:
        return states
    then = past[:, -1 - steps]  # where it was planned, seen from now
    place = then[:, layout.slice("root_pos")][:, :2]
    return reframed(states, layout, place, heading(then, layout))
