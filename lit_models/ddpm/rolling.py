"""Rolling plans: the noise level grows along the horizon, and each tick starts from what the last one left."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .diffusion import Diffusion
from .samplers import Noise, Streams, level_path


@dataclass(frozen=True, eq=False)
class Rolling:
    """A plan that moves on by one token a tick and keeps what it already knows of the tokens ahead.

    After a tick the streams lie at the levels ``stop``. The next one drops the first token, pushes pure noise behind
    the last, raises to ``rest`` what lies below it, and denoises from there to ``stop``. A ramp (``ramp``) never raises
    and hands out one clean token a tick (Ruhe et al., arXiv:2402.09470; the pyramid of Chen et al., arXiv:2407.01392);
    a flat ``rest`` below K warm-starts the whole plan; a flat ``rest`` of K is the plain sampler.

    Attributes:
        diffusions: one a stream.
        rest: levels before a tick (T,) a stream, int64; 0 at tokens of the history.
        stop: levels after it (T,) a stream, nowhere above ``rest``.
        steps: model evaluations a tick.
    """

    diffusions: tuple[Diffusion, ...]
    rest: Streams
    stop: Streams
    steps: int

    def __post_init__(self) -> None:
        rested = []
        for diffusion, rest, stop in zip(self.diffusions, self.rest, self.stop, strict=True):
            top = diffusion.num_train_timesteps
            rest = torch.cat([rest[:-1], rest.new_tensor([top])])  # what is pushed is pure noise
            if (stop > rest).any() or (stop[1:] > rest[:-1]).any() or stop.min() < 0 or rest.max() > top:
                raise ValueError(
                    f"rest={rest.tolist()}, stop={stop.tolist()}: levels lie in 0..{top}, stop nowhere above rest, and "
                    "what token j + 1 stops at nowhere above where token j rests, for that is where it goes."
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
        """Move on by one token: streams (B, T, D) from the levels ``stop`` to those that ``paths`` start at.

        Then write what was observed over the tokens of the history, and sample along ``paths``.
        """
        moved = []
        for value, diffusion, rest, stop in zip(x, self.diffusions, self.rest, self.stop, strict=True):
            drawn = noise(value.shape, value.dtype).to(value.device)
            ahead = diffusion.renoise(value[:, 1:], drawn[:, :-1], stop[1:], rest[:-1])
            moved.append(torch.cat([ahead, drawn[:, -1:]], dim=1))
        return tuple(moved)


def ramp(num_train_timesteps: int, horizon: int, history: int = 0) -> tuple[Tensor, Tensor]:
    """Levels that grow along the horizon: the (rest, stop) of ``Rolling``, each (history + horizon,) int64.

    Token j of the horizon rests at level K (j + 1) / horizon and stops where token j - 1 rests, so that a shift leaves
    each token where the next tick takes it up.
    """
    grid = (num_train_timesteps * torch.arange(horizon + 1, dtype=torch.float64) / horizon).round().long()
    clean = torch.zeros(history, dtype=torch.long)
    return torch.cat([clean, grid[1:]]), torch.cat([clean, grid[:-1]])
