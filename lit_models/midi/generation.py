"""Autoregressive sampling: keys drawn frame after frame, each frame given those before."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .stack import State

Encoder = Callable[[Tensor], Tensor]
"""Keys of the frames so far (B, t, K) bool -> raw features of the last of them (B, F)."""
Run = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""Raw features (B, T, F) and a state -> logits (B, T, K) and the state after them."""


@dataclass(frozen=True)
class Choice:
    """Sampling rule: keys from their probabilities.

    Attributes:
        temperature: divides the logits; 0 takes every key from ``threshold`` on.
        threshold: of probability, for ``temperature`` 0.
        polyphony: at most so many keys a frame, the likeliest of those chosen; None for any number.
        generator: source of the randomness.
    """

    temperature: float
    threshold: float
    polyphony: int | None
    generator: torch.Generator

    def __call__(self, logits: Tensor) -> Tensor:
        """Keys (B, K) bool of one frame from its logits (B, K)."""
        if self.temperature > 0:
            coin = torch.rand(logits.shape, generator=self.generator).to(logits.device)
            chosen = coin < (logits / self.temperature).sigmoid()
        else:
            chosen = logits.sigmoid() >= self.threshold
        if self.polyphony is None or self.polyphony >= logits.shape[-1]:
            return chosen
        best = logits.masked_fill(~chosen, -torch.inf).topk(self.polyphony, dim=-1).indices
        return chosen & torch.zeros_like(chosen).scatter(-1, best, True)


def continue_roll(run: Run, encode: Encoder, choose: Choice, prompt: Tensor, num_frames: int) -> Tensor:
    """Append frames to a roll.

    Args:
        run: the model.
        encode: features of the last frame of a roll.
        choose: keys from logits.
        prompt: how it begins (B, T, K) bool, T at least 1.
        num_frames: to append.

    Returns:
        (B, T + num_frames, K) bool; the prompt comes back as it was.
    """
    frames, state, given = list(prompt.unbind(1)), None, prompt.shape[1]
    for t in range(1, given + num_frames):
        features = encode(torch.stack(frames[:t], dim=1))  # (B, F)
        logits, state = run(features[:, None], state)  # (B, 1, K)
        if t >= given:
            frames.append(choose(logits[:, 0]))
    return torch.stack(frames, dim=1)
