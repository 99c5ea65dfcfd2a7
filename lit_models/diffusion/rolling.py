"""Rolling plans: each tick starts from what the last one left, under noise that may grow along the horizon."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .process import Diffusion, level_path
from .samplers import Noise, Streams

Rest = Literal["ramp"] | Sequence[int]
"""``ramp``, or the levels to which states and actions of a finished plan are raised, such as (14, 4)."""


@dataclass(frozen=True, eq=False)
class Rolling:
    """A plan that moves on by some tokens a tick and keeps what it already knows of the tokens ahead.

    After a tick the streams lie at the levels ``stop``. The next one drops the first tokens, pushes pure noise behind
    the last, raises to ``rest`` what lies below it, and denoises from there to ``stop``. A ramp (``ramp``) never raises
    and hands out clean tokens each tick (Ruhe et al., arXiv:2402.09470; the pyramid of Chen et al., arXiv:2407.01392);
    a flat ``rest`` below K warm-starts the whole plan (Diffuse-CLoC, arXiv:2503.11801, section 4.3); a flat ``rest`` of
    K is the plain sampler.

    Attributes:
        diffusions: one a stream.
        rest: levels before a tick (T,) a stream, int64; 0 at tokens of the history.
        stop: levels after it (T,) a stream, nowhere above ``rest``.
        steps: model evaluations a tick.
        shift_by: tokens a tick.
    """

    diffusions: tuple[Diffusion, ...]
    rest: Streams
    stop: Streams
    steps: int
    shift_by: int = 1

    def __post_init__(self) -> None:
        rested, by = [], self.shift_by
        for diffusion, rest, stop in zip(self.diffusions, self.rest, self.stop, strict=True):
            top = diffusion.num_train_timesteps
            rest = torch.cat([rest[:-by], rest.new_full((by,), top)])  # what is pushed is pure noise
            if (stop > rest).any() or (stop[by:] > rest[:-by]).any() or stop.min() < 0 or rest.max() > top:
                raise ArgumentError(
                    f"rest={rest.tolist()}, stop={stop.tolist()}: levels lie in 0..{top}, stop nowhere above rest, and "
                    f"what token j + {by} stops at nowhere above where token j rests, for that is where it goes."
                )
            rested.append(rest)
        object.__setattr__(self, "rest", tuple(rested))

    def paths(self) -> Streams:
        """Paths of a tick: (steps + 1, T) a stream."""
        return tuple(level_path(rest, stop, self.steps) for rest, stop in zip(self.rest, self.stop, strict=True))

    def first_paths(self, steps: int) -> Streams:
        """Paths of the first plan, in which all but the history is pure noise: (steps + 1, T) a stream."""
        return tuple(
            level_path(torch.where(rest > 0, diffusion.num_train_timesteps, 0), stop, steps)
            for diffusion, rest, stop in zip(self.diffusions, self.rest, self.stop, strict=True)
        )

    def shift(self, x: Streams, noise: Noise) -> Streams:
        """Move on: streams (B, T, D) from the levels ``stop`` to those that ``paths`` start at.

        Then write what was observed over the tokens of the history, and sample along ``paths``.
        """
        moved, by = [], self.shift_by
        for value, diffusion, rest, stop in zip(x, self.diffusions, self.rest, self.stop, strict=True):
            diffusion, levels, to = diffusion.to(value.device), stop[by:].to(value.device), rest[:-by].to(value.device)
            drawn = noise(value.shape, value.dtype).to(value.device)
            moved.append(torch.cat([diffusion.renoise(value[:, by:], drawn[:, :-by], levels, to), drawn[:, -by:]], 1))
        return tuple(moved)


def ramp(num_train_timesteps: int, horizon: int, history: int = 0, shift_by: int = 1) -> tuple[Tensor, Tensor]:
    """Levels that grow along the horizon: the (rest, stop) of ``Rolling``, each (history + horizon,) int64.

    Token j of the horizon rests at level K (j + 1) / (horizon - shift_by + 1), at most K, and stops where token j -
    shift_by rests, so that a shift leaves each token where the next tick takes it up.
    """
    share = torch.arange(1, horizon + 1, dtype=torch.float64) / (horizon - shift_by + 1)
    grid = (num_train_timesteps * share.clamp(max=1)).round().long()
    clean = torch.zeros(history, dtype=torch.long)
    stop = torch.cat([grid.new_zeros(shift_by), grid[:-shift_by]])
    return torch.cat([clean, grid]), torch.cat([clean, stop])


def make_rolling(rest: Rest, diffusions: tuple[Diffusion, ...], known: Tensor, steps: int, shift_by: int) -> Rolling:
    """Rolling plans for windows of which a part is known.

    Args:
        rest: ``ramp``, or the level of each stream to which the last plan is raised.
        diffusions: one a stream.
        known: tokens that are given, in front (streams, W) bool.
        steps: model evaluations from pure noise to nothing; a tick takes its share of them, at least 1.
        shift_by: tokens a tick, fewer than are not known.

    Raises:
        ValueError: an unknown name, a level outside 1..K, or more tokens a tick than there are.
    """
    top, length = diffusions[0].num_train_timesteps, known.shape[1]
    given = known.sum(dim=1).tolist()
    if not 1 <= shift_by < length - max(given):
        raise ArgumentError(f"rolling by {shift_by} steps: at least 1, and fewer than the {length - max(given)} ahead.")
    if rest == "ramp":
        levels = [ramp(top, length - count, count, shift_by) for count in given]
        share = shift_by / (length - max(given) - shift_by + 1)
    else:
        if len(rest) != len(diffusions) or not all(1 <= int(level) <= top for level in rest):
            raise ArgumentError(
                f"rolling={rest!r}: 'ramp', or {len(diffusions)} levels of 1 to {top}, of states and actions."
            )
        zero = torch.zeros(length, dtype=torch.long)
        levels = [(torch.where(row, 0, level), zero) for row, level in zip(known, rest, strict=True)]
        share = max(rest) / top
    rests, stops = zip(*levels, strict=True)
    return Rolling(diffusions, rests, stops, max(1, round(steps * share)), shift_by)
