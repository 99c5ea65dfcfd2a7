"""Motion losses: errors of x_0-hat in physical units, whatever the network predicts.

Differences of predicted noise say nothing about motion; those of x_0-hat do. At high noise x_0-hat is a blur that no
weight should pull at, so the terms in metres are multiplied by alpha_bar of the level, and left out where that is next
to nothing: forward kinematics costs half as much as the network. Time is counted in frames.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from .skeleton import MotionLayout

NoiseWeighting = Literal["alpha_bar", "uniform"]

OF_COLUMNS = ("reconstruction", "root", "column_acceleration")
"""Losses of columns, each over its standard deviation, at any level of noise alike."""
IN_METRES = (
    "velocity",
    "acceleration",
    "bone_length",
    "bone_direction",
    "forward_kinematics",
    "foot_contact",
)
TERMS = OF_COLUMNS + IN_METRES
"""All losses by name."""

FAINT = 0.05
"""Share of signal below which terms in metres are not computed, where they are weighted by it."""
GEOMETRIC = 0.01
"""Weight of the term that holds the body together."""


def default_weights(layout: MotionLayout) -> dict[str, float]:
    """The usual recipe: with rotations bones keep their lengths by themselves, and joints must reach their places."""
    weights = dict.fromkeys(TERMS, 0.0) | {"reconstruction": 1.0, "velocity": 0.1, "acceleration": 0.05}
    return weights | {"forward_kinematics" if layout.has_rotations else "bone_length": GEOMETRIC}


class MotionLosses(nn.Module):
    """Losses of predicted motions, each independent and not computed where its weight is 0.

    Means over the frames that exist, and over columns, joints or bones:

    - ``reconstruction``: squared error of columns, each over its standard deviation.
    - ``root``: the same of the few columns that tell where the root goes, which all else has to fit (the feature bias
      of Guo et al., CVPR 2022, as a loss).
    - ``column_acceleration``: squared error of second differences of columns, each over its standard deviation, without
      contacts. It weighs quick changes more than the reconstruction does and, being linear, has the same best
      prediction at every level of noise, so that it smooths motion and pulls at no blur.
    - ``velocity``, ``acceleration``: squared error of first and second differences of joint positions.
    - ``bone_length``: squared error of the distance from each joint to its parent.
    - ``bone_direction``: 1 - cos of the angle to the true bone, over bones that have a length.
    - ``forward_kinematics``: squared error of the positions that rotations lead to (Tevet et al., arXiv:2209.14916,
      eq. 3); velocity is their eq. 5.
    - ``foot_contact``: squared error of the feet's velocity where the truth stands (their eq. 4, which takes 0 for the
      truth's own velocity, so that it charges a perfect prediction for what the data slides).

    Args:
        weights: of terms by name; those left out take ``default_weights``.
        layout: of the columns.
        unit: the length that counts as 1, m. With a decimetre the terms have the size of the reconstruction.
        contact_speed: a foot that the truth moves no faster stands, m/s.
        noise_weighting: of the terms in metres: ``alpha_bar`` of a frame's level, or ``uniform``.

    Raises:
        ValueError: an unknown name, a negative weight, or a term that the layout cannot give.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None,
        layout: MotionLayout,
        unit: float = 0.1,
        contact_speed: float = 0.2,
        noise_weighting: NoiseWeighting = "alpha_bar",
    ) -> None:
        super().__init__()
        self.layout, self.unit, self.noise_weighting = layout, unit, noise_weighting
        self.contact_step = contact_speed / layout.fps  # m a frame
        given = dict(weights or {})
        _check(given, layout, noise_weighting)
        self.weights = {name: float(weight) for name, weight in (default_weights(layout) | given).items() if weight}

    def forward(
        self,
        prediction: Tensor,
        truth: Tensor,
        valid: Tensor,
        std: Tensor,
        alpha_bar: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Every term whose weight is not 0, unweighted by it.

        Args:
            prediction: x_0-hat, physical (B, T, F).
            truth: x_0, physical (B, T, F).
            valid: frames that exist (B, T) bool.
            std: of the columns (F,), which the reconstruction divides by.
            alpha_bar: share of signal at each frame's level, in [0, 1], (B, T) or (B, 1); None: clean.
            weight: of the terms of columns by level (B, T) or (B, 1), None: 1. It weighs the error of x_0: that is
                ``Diffusion.loss_weight``, times SNR where epsilon is predicted, times SNR + 1 where v is.

        Returns:
            Per sample (B,), float32 or wider. A sample too short for a term has 0.
        """
        wide = torch.promote_types(prediction.dtype, torch.float32)
        prediction, truth = (torch.where(valid[..., None], x.to(wide), 0.0) for x in (prediction, truth))
        found = self._of_columns((prediction - truth) / std, valid, weight)
        physical = [name for name in self.weights if name in IN_METRES]
        if physical and (alpha_bar is None or self.noise_weighting == "uniform"):
            found |= self._physical(physical, prediction, truth, valid, None)
        elif physical and alpha_bar is not None:
            alpha_bar = alpha_bar.to(wide).expand(valid.shape)
            clear = (torch.where(valid, alpha_bar, 0.0).amax(dim=1) >= FAINT).nonzero()[:, 0]
            some = self._physical(physical, *(part[clear] for part in (prediction, truth, valid, alpha_bar)))
            none = prediction.new_zeros(len(prediction))
            found |= {name: none.index_put((clear,), term) for name, term in some.items()}
        return found

    def _of_columns(self, error: Tensor, valid: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        """Terms (B,) of the error of the columns (B, T, F), each over its standard deviation."""
        found = {}
        for name in (name for name in OF_COLUMNS if name in self.weights):
            of, length = error, 1
            if name == "root":
                of = error[..., self.layout.root_columns]
            elif name == "column_acceleration":
                of, length = self.layout.without_contacts(error).diff(n=2, dim=1), 3
            level = None if weight is None else _lowest(weight.expand(valid.shape), length)
            found[name] = _mean(of.square().mean(dim=-1), runs(valid, length), level)
        return found

    def _physical(
        self, names: Sequence[str], prediction: Tensor, truth: Tensor, valid: Tensor, signal: Tensor | None
    ) -> dict[str, Tensor]:
        """Terms in metres (B,), each frame weighted by its signal (B, T)."""
        guess = self.layout.positions(prediction) / self.unit  # (B, T, J, 3)
        with torch.no_grad():
            real = self.layout.positions(truth) / self.unit
        terms: dict[str, Callable[..., Tensor]] = {
            "velocity": self._velocity,
            "acceleration": self._acceleration,
            "bone_length": self._bone_length,
            "bone_direction": self._bone_direction,
            "forward_kinematics": self._place,
            "foot_contact": self._foot_contact,
        }
        return {name: terms[name](guess, real, valid, signal) for name in names}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum (B,) of what ``forward`` gives."""
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        return torch.stack(weighted).sum(dim=0)

    def _velocity(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        return _differences(guess - real, 1, valid, signal)

    def _acceleration(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        return _differences(guess - real, 2, valid, signal)

    def _place(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        return _differences(guess - real, 0, valid, signal)

    def _bone_length(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        long, true = (torch.linalg.vector_norm(self.layout.bones(x), dim=-1) for x in (guess, real))  # (B, T, J - 1)
        return _mean((long - true).square().mean(dim=-1), valid, signal)

    def _bone_direction(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        bones, true = self.layout.bones(guess), self.layout.bones(real)  # (B, T, J - 1, 3)
        has_length = torch.linalg.vector_norm(true, dim=-1) > 1e-6
        apart = (nn.functional.normalize(bones, dim=-1) - nn.functional.normalize(true, dim=-1)).square().sum(dim=-1)
        some = has_length.sum(dim=-1).clamp(min=1)
        return _mean((apart / 2 * has_length).sum(dim=-1) / some, valid, signal)  # |u - v|^2 / 2 = 1 - cos

    def _foot_contact(self, guess: Tensor, real: Tensor, valid: Tensor, signal: Tensor | None) -> Tensor:
        step, true = (x[..., self.layout.feet, :].diff(dim=1) for x in (guess, real))  # (B, T - 1, feet, 3)
        stands = torch.linalg.vector_norm(true, dim=-1) * self.unit <= self.contact_step
        error = ((step - true).square().sum(dim=-1) * stands).sum(dim=-1)  # (B, T - 1)
        known = runs(valid, 2)
        standing = (stands.sum(dim=-1) * known).sum(dim=1).clamp(min=1)
        error = error if signal is None else error * _lowest(signal, 2)
        total: Tensor = torch.where(known, error, 0.0).sum(dim=1) / standing
        return total


def runs(valid: Tensor, length: int) -> Tensor:
    """Whether ``length`` frames that exist begin here: bool (..., T) to (..., T - length + 1)."""
    return valid.unfold(-1, length, 1).all(dim=-1) if valid.shape[-1] >= length else valid[..., :0]


def _lowest(signal: Tensor, length: int) -> Tensor:
    """The noisiest of the ``length`` frames that begin here: (B, T) to (B, T - length + 1)."""
    return signal.unfold(-1, length, 1).amin(dim=-1) if signal.shape[-1] >= length else signal[..., :0]


def _differences(error: Tensor, order: int, valid: Tensor, signal: Tensor | None) -> Tensor:
    """Mean square over frames and joints of differences of ``error`` (B, T, J, 3): (B,)."""
    moved = error.diff(n=order, dim=1).square().sum(dim=-1).mean(dim=-1)  # (B, T - order)
    return _mean(moved, runs(valid, order + 1), None if signal is None else _lowest(signal, order + 1))


def _mean(error: Tensor, valid: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the valid of ``error`` (B, T), weighted, which what is not valid never touches: (B,)."""
    weighted = error if weight is None else error * weight
    return torch.where(valid, weighted, 0.0).sum(dim=1) / valid.sum(dim=1).clamp(min=1)


def _check(weights: Mapping[str, float], layout: MotionLayout, noise_weighting: str) -> None:
    if noise_weighting not in ("alpha_bar", "uniform"):
        raise ArgumentError(f"noise_weighting={noise_weighting!r}: choose 'alpha_bar' or 'uniform'.")
    for name, weight in weights.items():
        if name not in TERMS:
            raise ArgumentError(f"loss {name!r}: choose of {', '.join(TERMS)}.")
        if weight < 0:
            raise ArgumentError(f"weight of {name} is {weight}: at least 0, and 0 leaves the loss out.")
    asked = {name for name, weight in weights.items() if weight}
    if "forward_kinematics" in asked and not layout.has_rotations:
        raise ArgumentError(
            f"weight of forward_kinematics: features of kind {layout.kind!r} hold no rotations. Set it to 0, and "
            "bone_length or bone_direction above 0."
        )
    if "bone_length" in asked and layout.has_rotations:
        raise ArgumentError(
            f"weight of bone_length: features of kind {layout.kind!r} cannot change the lengths of bones. Set it to 0, "
            "and forward_kinematics or bone_direction above 0."
        )
    if "root" in asked and layout.root_columns == slice(0, 0):
        raise ArgumentError("weight of root: features.root=false, no column tells where the root goes. Set it to 0.")
    if "foot_contact" in asked and not layout.feet:
        raise ArgumentError("weight of foot_contact: skeleton.feet names no joints. Name them, or set it to 0.")
