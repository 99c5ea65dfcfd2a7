"""Motion metrics: errors against the truth, and how plausible a motion is by itself."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.errors import ArgumentError

from .losses import runs
from .skeleton import MotionLayout

ERRORS = ("mse", "mae", "velocity_error", "acceleration_error", "jerk_error")
"""Against a truth."""
PLAIN = ("jerk", "foot_skating", "bone_length_deviation", "l1_diversity")
"""Of a motion by itself."""
NAMES = ERRORS + PLAIN

SKATING_WINDOW = 5
"""Frames over which the speed of a foot is averaged."""


class MotionMetrics(Metric):
    """Errors and plausibility of motions in physical units; sums and counts only, so that processes add up exactly.

    Only frames that exist count; a difference over frames needs all of its frames. A key is absent while nothing was
    counted for it. Compare each number of the second kind with that of real motion, which is not 0 either.

    - ``mse``, ``mae``: of the columns, mean over columns, frames and clips.
    - ``velocity_error``, ``acceleration_error``, ``jerk_error``: mean squared length of the error of first, second and
      third differences of joint positions, times fps, fps^2 and fps^3: (m/s)^2, (m/s^2)^2, (m/s^3)^2.
    - ``jerk``: mean length of third differences of joint positions times fps^3, m/s^3.
    - ``foot_skating``: see ``skating``; mean over clips.
    - ``bone_length_deviation``: mean difference of a bone's length from that of the skeleton at rest, m.
    - ``l1_diversity``: sum over coordinates of the mean distance from the mean over the frames, mean over clips, m (Liu
      et al., arXiv:2401.00374).

    Args:
        layout: of the columns.
        skating_height: a foot below it touches the ground, m.
        skating_speed: a foot on the ground that is faster skates, m/s.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(
        self, layout: MotionLayout, skating_height: float = 0.05, skating_speed: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.layout, self.skating_height, self.skating_speed = layout, skating_height, skating_speed
        for name in ("sums", "counts"):
            self.add_state(name, torch.zeros(len(NAMES), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, motion: Tensor, valid: Tensor, truth: Tensor | None = None) -> None:
        """Add clips.

        Args:
            motion: physical (B, T, F).
            valid: frames that exist (B, T) bool, a prefix.
            truth: (B, T, F), of which ``valid`` holds too; None leaves the errors out.

        Raises:
            ValueError: shapes that do not match.
        """
        if valid.shape != motion.shape[:2] or (truth is not None and truth.shape != motion.shape):
            beside = "" if truth is None else f", truth {tuple(truth.shape)}"
            raise ArgumentError(
                f"motion {tuple(motion.shape)}, valid {tuple(valid.shape)}{beside}: (B, T, F), (B, T) and (B, T, F)."
            )
        motion = torch.where(valid[..., None], motion.double(), 0.0)
        positions = self.layout.positions(motion)  # (B, T, J, 3)
        if truth is not None:
            truth = torch.where(valid[..., None], truth.double(), 0.0)
            self._add("mse", (motion - truth).square(), valid)
            self._add("mae", (motion - truth).abs(), valid)
            apart = positions - self.layout.positions(truth)
            for order, name in enumerate(ERRORS[2:], start=1):
                error = apart.diff(n=order, dim=1) * self.layout.fps**order
                self._add(name, error.square().sum(dim=-1), runs(valid, order + 1))
        jerk = positions.diff(n=3, dim=1) * self.layout.fps**3  # (B, T - 3, J, 3)
        self._add("jerk", torch.linalg.vector_norm(jerk, dim=-1), runs(valid, 4))
        lengths = torch.linalg.vector_norm(self.layout.bones(positions), dim=-1)  # (B, T, J - 1)
        self._add("bone_length_deviation", (lengths - self.layout.bone_lengths).abs(), valid)
        frames = valid.sum(dim=1)  # (B,)
        mean = (positions * valid[..., None, None]).sum(dim=1) / frames[:, None, None].clamp(min=1)  # (B, J, 3)
        spread = ((positions - mean[:, None]).abs().sum(dim=(-2, -1)) * valid).sum(dim=1) / frames.clamp(min=1)
        self._add("l1_diversity", spread, frames > 0)
        if self.layout.feet:
            feet = positions[:, :, self.layout.feet]
            found = skating(feet, valid, self.layout.fps, self.layout.up, self.skating_height, self.skating_speed)
            self._add("foot_skating", found, frames > 1)

    def compute(self) -> dict[str, float]:
        """The quantities of the class by name."""
        pairs = zip(NAMES, self.sums.tolist(), self.counts.tolist(), strict=True)
        return {name: total / count for name, total, count in pairs if count}

    def _add(self, name: str, values: Tensor, known: Tensor) -> None:
        """Count ``values`` (..., and more axes) where ``known`` (...)."""
        mask = known.reshape(*known.shape, *[1] * (values.dim() - known.dim())).expand_as(values)
        self.sums[NAMES.index(name)] += torch.where(mask, values.double(), 0.0).sum()
        self.counts[NAMES.index(name)] += mask.sum()


def skating(feet: Tensor, valid: Tensor, fps: float, up: int, height: float = 0.05, speed: float = 0.5) -> Tensor:
    """Share of a clip's steps at which a foot skates (Karunratanakul et al., arXiv:2305.12577, section 5).

    A foot skates from one frame to the next if it is low in both and faster over the ground than ``speed``, both at
    this step and in the mean over the 5 steps around it; outside of the clip it stands.

    Args:
        feet: positions (B, T, F, 3) m.
        valid: frames that exist (B, T) bool, a prefix.
        fps: frames a second.
        up: the axis that points up.
        height: of a low foot, m.
        speed: m/s.

    Returns:
        (B,) float64 in [0, 1]; 0 for a clip of one frame.
    """
    known = runs(valid, 2)  # (B, T - 1)
    ground = [axis for axis in range(3) if axis != up]
    fast = torch.linalg.vector_norm(feet[..., ground].diff(dim=1), dim=-1) * fps  # (B, T - 1, F)
    fast = torch.where(known[..., None], fast, 0.0)
    half = SKATING_WINDOW // 2
    padded = torch.nn.functional.pad(fast, (0, 0, half, half))
    mean = torch.stack([padded[:, k : k + fast.shape[1]] for k in range(SKATING_WINDOW)]).mean(dim=0)
    low = feet[..., up] < height  # (B, T, F)
    skates = low[:, 1:] & low[:, :-1] & (fast > speed) & (mean > speed)
    return (skates.any(dim=-1) & known).sum(dim=1).double() / known.sum(dim=1).clamp(min=1)


def motion_beats(speed: Tensor, valid: Tensor, order: int = 7, threshold: float = 0.3) -> Tensor:
    """Where a joint is slower than within ``order`` steps around, and not at rest.

    Args:
        speed: of joints (B, S, J) >= 0, at any scale.
        valid: steps that exist (B, S) bool, a prefix.
        order: steps to either side; the first and the last step are no minima.
        threshold: a minimum below this share of the joint's mean speed in the clip is rest.

    Returns:
        Bool (B, S, J).
    """
    steps = speed.shape[1]
    mask = valid[..., None]
    mean = torch.where(mask, speed, 0.0).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    speed = torch.where(mask, speed, torch.inf)
    edge = speed.new_full((speed.shape[0], order, speed.shape[2]), torch.inf)
    padded = torch.cat([edge, speed, edge], dim=1)  # (B, S + 2 order, J)
    around = padded.unfold(1, order, 1).amin(dim=-1)  # (B, S + order + 1, J): the minimum of ``order`` steps from here
    lowest = torch.minimum(around[:, :steps], around[:, order + 1 :])  # before and after each step
    inside = mask.clone()
    inside[:, :1] = False
    inside[:, :-1] &= mask[:, 1:]
    inside[:, -1:] = False
    return (speed < lowest) & (speed > threshold * mean) & inside


def beat_consistency(beats: Tensor, onsets: Tensor, fps: float, sigma: float = 0.3) -> tuple[Tensor, Tensor]:
    """exp(-d^2 / (2 sigma^2)) of the time d from each onset of the sound to the nearest beat of a joint.

    Mean over onsets and joints (Liu et al., arXiv:2203.05297, section 5.1, with the sum over onsets). Each
    onset is sought among the beats of a joint by bisection.

    Args:
        beats: bool (B, S, J), where step s lies between frames s and s + 1.
        onsets: seconds from the first frame (B, N), NaN where there is none.
        fps: frames a second.
        sigma: s.

    Returns:
        Score (B,) float64 in [0, 1], and whether the clip has onsets (B,); a joint without beats scores 0.
    """
    batch, _, joints = beats.shape
    row, step = beats.transpose(1, 2).flatten(0, 1).nonzero().unbind(-1)  # by clip and joint, then by time
    count = torch.bincount(row, minlength=batch * joints)
    nth = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    times = torch.full((len(count), int(count.max()) + 2), torch.inf, dtype=torch.float64, device=row.device)
    times[:, 0] = -torch.inf
    times[row, nth + 1] = (step.double() + 0.5) / fps
    onsets = onsets.sort(dim=1).values  # what bisection finds twice as fast; NaN go last
    here = onsets.isfinite()
    onset = torch.where(here, onsets, 0.0).double().repeat_interleave(joints, dim=0)  # (B * J, N)
    place = torch.searchsorted(times, onset)  # >= 1
    seconds = torch.minimum(onset - times.gather(1, place - 1), times.gather(1, place) - onset)
    score = torch.exp(-seconds.square() / (2 * sigma**2)).view(batch, joints, -1).mean(dim=1)  # (B, N)
    heard = here.sum(dim=1)
    return (score * here).sum(dim=1) / heard.clamp(min=1), heard > 0


class BeatConsistency(Metric):
    """Whether joints turn when the sound sets in: ``beat_consistency``, mean over clips that have onsets.

    Args:
        layout: of the columns.
        joints: names, such as those of the upper body; None takes all.
        sigma: s; 0.3 for BEAT, 0.5 for TalkSHOW.
        order: of ``motion_beats``.
        threshold: of ``motion_beats``.
    """

    full_state_update = False
    higher_is_better = True
    score: Tensor
    clips: Tensor

    def __init__(
        self,
        layout: MotionLayout,
        joints: list[str] | None = None,
        sigma: float = 0.3,
        order: int = 7,
        threshold: float = 0.3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layout, self.sigma, self.order, self.threshold = layout, sigma, order, threshold
        self.joints = list(range(layout.joints)) if joints is None else layout.joints_of(joints)
        for name in ("score", "clips"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, motion: Tensor, valid: Tensor, onsets: Tensor) -> None:
        """Add clips.

        Args:
            motion: physical (B, T, F).
            valid: frames that exist (B, T) bool, a prefix.
            onsets: seconds from the first frame (B, N), NaN where there is none.
        """
        positions = self.layout.positions(torch.where(valid[..., None], motion.double(), 0.0))[:, :, self.joints]
        speed = torch.linalg.vector_norm(positions.diff(dim=1), dim=-1)  # (B, T - 1, J)
        beats = motion_beats(speed, runs(valid, 2), self.order, self.threshold)
        score, heard = beat_consistency(beats, onsets, self.layout.fps, self.sigma)
        self.score += score[heard].sum()
        self.clips += heard.sum()

    def compute(self) -> dict[str, float]:
        """``beat_consistency`` in [0, 1]; nothing where no clip had onsets."""
        return {"beat_consistency": float(self.score / self.clips)} if self.clips else {}
