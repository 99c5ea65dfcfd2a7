"""Plan metrics: errors against what happened, and how plausible plans are by themselves."""

from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.errors import ArgumentError

from .frames import positions
from .layout import StateLayout

LIMIT_TOLERANCE = 1e-5
"""rad beyond a joint's limit that rounding may explain."""
PENETRATION = 0.01
"""Depth of a foot below the ground that counts as a violation, m."""

NAMES = (
    "state_mse",
    "state_mae",
    "action_mse",
    "action_mae",
    "velocity_error",
    "acceleration_error",
    "jerk_error",
    "trajectory_smoothness",
    "action_smoothness",
    "joint_limit_violations",
    "joint_limit_overshoot",
    "action_limit_violations",
    "action_limit_overshoot",
    "contact_violations",
    "foot_penetration",
    "diversity",
    "ade",
    "fde",
    "min_ade",
    "min_fde",
)
"""All that ``TrajectoryMetrics`` can give."""

Count = tuple[Tensor, Tensor]
"""A sum and the number of its terms."""


class Feet(Protocol):
    """Forward kinematics that a datamodule offers."""

    def __call__(self, states: Tensor) -> Tensor | None:
        """Soles of F feet in the character frame (..., W, F, 3) m, from physical states (..., W, S); None: no feet."""


class TrajectoryMetrics(Metric):
    """Errors and plausibility of plans in physical units; sums and counts only, so that processes add up exactly.

    Only what a plan is free to choose counts: states after the current step, actions from it on, and of these only the
    valid. A difference over steps needs all of its steps. A key is absent while nothing was counted for it, as where
    the layout has no joints. Compare each number with that of the truth, which is neither smooth nor free of skating.

    - ``state_mse``, ``state_mae``, ``action_mse``, ``action_mae``: mean over columns, steps and plans.
    - ``velocity_error``, ``acceleration_error``: mean squared error of first and second differences, times fps and
      fps^2, of the columns that are no velocities themselves (whose unit does not end in ``/s``); ``jerk_error``: of
      third differences of root and body positions, times fps^3, (m/s^3)^2.
    - ``trajectory_smoothness``, ``action_smoothness``: variance over time of first differences, mean over columns.
    - ``joint_limit_violations``: share of joint angles outside their limits; ``joint_limit_overshoot``: how far those
      are outside, rad, 0 if none is. ``action_limit_*``: the same of actions that are joint positions.
    - ``contact_violations``: share of a foot's contact steps at which it slides or sinks in; ``foot_penetration``: mean
      depth over them, m. A foot is in contact where it is low at a step and at the one before.
    - ``diversity``: mean distance between two plans for the same prefix, of root and bodies, m; of single columns where
      the layout has no positions.
    - ``ade``, ``fde``: mean distance from the truth of root and bodies, m, over all steps and at the last one;
      ``min_ade``, ``min_fde``: of the nearest of G > 1 plans for the same prefix (Gupta et al., arXiv:1803.10892,
      section 4.1). Of what may happen one thing does: a plan that is drawn from it as it should be has twice the
      squared error of its mean.

    Args:
        layout: of the columns.
        history: steps N before the current one.
        action_horizon: actions that count, from the current step on; None takes all.
        contact_height: a foot below it is low, m.
        contact_speed: a foot in contact that moves faster over the ground slides, m/s.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        layout: StateLayout,
        history: int,
        action_horizon: int | None = None,
        contact_height: float = 0.05,
        contact_speed: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layout, self.history, self.action_horizon = layout, history, action_horizon
        self.contact_height, self.contact_speed = contact_height, contact_speed
        for name in ("sums", "counts"):
            self.add_state(name, torch.zeros(len(NAMES), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        states: Tensor,
        actions: Tensor,
        true_states: Tensor,
        true_actions: Tensor,
        valid: Tensor | None = None,
        feet: Tensor | None = None,
    ) -> None:
        """Add plans.

        Args:
            states: physical (B, W, S), or (G, B, W, S) for G plans for each prefix.
            actions: physical (B, W, A) or (G, B, W, A).
            true_states: (B, W, S).
            true_actions: (B, W, A).
            valid: steps that exist (B, W) bool; None: all.
            feet: feet of the plans (..., W, F, 3) m, as ``Feet`` gives them.

        Raises:
            ValueError: shapes that do not match.
        """
        self._check(states, true_states, self.layout.state_size)
        self._check(actions, true_actions, self.layout.action_size)
        if valid is None:
            valid = torch.ones(true_states.shape[:2], dtype=torch.bool, device=states.device)
        after = slice(self.history + 1, None)
        end = None if self.action_horizon is None else self.history + self.action_horizon
        free = slice(self.history, end)
        known = valid[:, after].expand(*states.shape[:-2], -1)  # (..., H)
        found = self._of_states(states[..., after, :].double(), true_states[:, after].double(), known)
        acted = valid[:, free].expand(*actions.shape[:-2], -1)
        found |= self._of_actions(actions[..., free, :].double(), true_actions[:, free].double(), acted)
        if feet is not None:
            found |= self._of_feet(feet[..., after, :, :].double(), known)
        for name, (total, count) in found.items():
            self.sums[NAMES.index(name)] += total
            self.counts[NAMES.index(name)] += count

    def compute(self) -> dict[str, float]:
        """The quantities of the class by name."""
        counted = dict(zip(NAMES, zip(self.sums.tolist(), self.counts.tolist(), strict=True), strict=True))
        results = {name: total / count for name, (total, count) in counted.items() if count}
        for kind in ("joint", "action"):
            if f"{kind}_limit_violations" in results:
                results.setdefault(f"{kind}_limit_overshoot", 0.0)
        return results

    def _check(self, plan: Tensor, truth: Tensor, size: int) -> None:
        if plan.dim() not in (3, 4) or plan.shape[-3:] != truth.shape or truth.shape[-1] != size:
            raise ArgumentError(
                f"plans of shape {tuple(plan.shape)} beside a truth of shape {tuple(truth.shape)}: both end in "
                f"(B, W, {size}), and plans may have G samples in front."
            )

    def _of_states(self, states: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Count]:
        fps = self.layout.fps
        found = _errors("state", states - truth, valid) | {"trajectory_smoothness": _smoothness(states, valid)}
        units = [columns.unit for columns in self.layout.state for _ in range(columns.size)]
        moving = [column for column, unit in enumerate(units) if not unit.endswith("/s")]
        for name, order in (("velocity_error", 1), ("acceleration_error", 2)):
            error = (states - truth)[..., moving].diff(n=order, dim=-2) * fps**order
            found[name] = _count(error.square(), _runs(valid, order + 1))
        places, true_places = positions(states, self.layout), positions(truth, self.layout)
        if places is not None and true_places is not None:
            found |= _displacement(torch.linalg.vector_norm(places - true_places, dim=-1).mean(dim=-1), valid)
            jerk = (places - true_places).diff(n=3, dim=-3) * fps**3  # (..., H - 3, P, 2 or 3)
            found["jerk_error"] = _count(jerk.square(), _runs(valid, 4))
        if "joint_pos" in self.layout and self.layout.joint_limits:
            found |= self._of_limits("joint", states[..., self.layout.slice("joint_pos")], valid)
        if states.dim() == 4 and len(states) > 1:
            found["diversity"] = _diversity(states[..., None] if places is None else places, valid)
        return found

    def _of_actions(self, actions: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Count]:
        found = _errors("action", actions - truth, valid) | {"action_smoothness": _smoothness(actions, valid)}
        if self.layout.action_is_joint_position and self.layout.joint_limits:
            found |= self._of_limits("action", actions, valid)
        return found

    def _of_limits(self, kind: str, angles: Tensor, valid: Tensor) -> dict[str, Count]:
        lower, upper = torch.tensor(self.layout.joint_limits).to(angles).unbind(-1)  # (J,)
        over = torch.maximum(lower - angles, angles - upper)  # (..., H, J)
        outside = over > LIMIT_TOLERANCE
        violations, entries = _count(outside, valid)
        beyond, _ = _count(over * outside, valid)
        return {f"{kind}_limit_violations": (violations, entries), f"{kind}_limit_overshoot": (beyond, violations)}

    def _of_feet(self, feet: Tensor, valid: Tensor) -> dict[str, Count]:
        height = feet[..., 2]  # (..., H, F)
        low = (height < self.contact_height) & valid[..., None]
        contact = low[..., 1:, :] & low[..., :-1, :]  # (..., H - 1, F)
        speed = torch.linalg.vector_norm(feet[..., :2].diff(dim=-3), dim=-1) * self.layout.fps
        height = height[..., 1:, :]
        wrong = (speed > self.contact_speed) | (height < -PENETRATION)
        depth = torch.where(contact, (-height).clamp(min=0), 0.0)
        return {
            "contact_violations": ((wrong & contact).sum(), contact.sum()),
            "foot_penetration": (depth.sum(), contact.sum()),
        }


def _count(values: Tensor, valid: Tensor) -> Count:
    """Sum and number of ``values`` (..., T, ...) at the valid steps (..., T)."""
    mask = valid.reshape(*valid.shape, *[1] * (values.dim() - valid.dim())).expand_as(values)
    return torch.where(mask, values.double(), 0.0).sum(), mask.sum()


def _runs(valid: Tensor, length: int) -> Tensor:
    """Whether ``length`` valid steps begin here: (..., T) to (..., T - length + 1)."""
    return valid.unfold(-1, length, 1).all(dim=-1) if valid.shape[-1] >= length else valid[..., :0]


def _errors(stream: str, error: Tensor, valid: Tensor) -> dict[str, Count]:
    return {f"{stream}_mse": _count(error.square(), valid), f"{stream}_mae": _count(error.abs(), valid)}


def _smoothness(x: Tensor, valid: Tensor) -> Count:
    both = _runs(valid, 2)[..., None]  # (..., T - 1, 1)
    steps = both.sum(dim=-2)  # (..., 1)
    moved = torch.where(both, x.diff(dim=-2), 0.0)
    mean = moved.sum(dim=-2) / steps.clamp(min=1)  # (..., D)
    spread = torch.where(both, (moved - mean[..., None, :]).square(), 0.0).sum(dim=-2) / steps.clamp(min=1)
    return _count(spread, steps[..., 0] > 1)  # one difference does not vary


def _displacement(apart: Tensor, valid: Tensor) -> dict[str, Count]:
    """Means over the valid steps, and at the last of them, of distances (..., H), over G plans and of the best."""
    some, left = valid.any(dim=-1), valid.flip(-1).cumsum(dim=-1).flip(-1)
    mean = torch.where(valid, apart, 0.0).sum(dim=-1) / valid.sum(dim=-1).clamp(min=1)  # (..., B)
    last = torch.where(valid & (left == 1), apart, 0.0).sum(dim=-1)  # (..., B)
    found = {"ade": _count(mean, some), "fde": _count(last, some)}
    if apart.dim() == 3 and len(apart) > 1:
        found |= {"min_ade": _count(mean.amin(dim=0), some[0]), "min_fde": _count(last.amin(dim=0), some[0])}
    return found


def _diversity(places: Tensor, valid: Tensor) -> Count:
    first, second = torch.triu_indices(len(places), len(places), 1, device=places.device)
    apart = torch.linalg.vector_norm(places[first] - places[second], dim=-1)  # (pairs, B, H, P)
    return _count(apart, valid[first])
