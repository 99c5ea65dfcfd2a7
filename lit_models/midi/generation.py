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

    Of a melody (``polyphony`` 1) one thing is drawn from p^(1 / T), a key or the rest that is left, 1 - sum p: coins of
    independent keys would leave prod(1 - p) of the frames silent. Of any other number each key has its coin.

    Attributes:
        temperature: T; of coins it divides the logits. 0 takes what is likeliest of a melody, else every key from
            ``threshold`` on.
        threshold: of probability, for ``temperature`` 0.
        polyphony: at most so many keys a frame, the likeliest of those chosen; None for any number.
        generator: source of the randomness.
        exhaustive: one of the columns happens in every frame, a rest among them.
    """

    temperature: float
    threshold: float
    polyphony: int | None
    generator: torch.Generator
    exhaustive: bool = False

    def __call__(self, logits: Tensor) -> Tensor:
        """Keys (B, K) bool of one frame from its logits (B, K)."""
        if self.polyphony == 1 or self.exhaustive:
            return self._one(logits.sigmoid())
        if self.temperature > 0:
            coin = torch.rand(logits.shape, generator=self.generator).to(logits.device)
            chosen = coin < (logits / self.temperature).sigmoid()
        else:
            chosen = logits.sigmoid() >= self.threshold
        if self.polyphony is None or self.polyphony >= logits.shape[-1]:
            return chosen
        best = logits.masked_fill(~chosen, -torch.inf).topk(self.polyphony, dim=-1).indices
        return chosen & torch.zeros_like(chosen).scatter(-1, best, True)

    def _one(self, p: Tensor) -> Tensor:
        """One column or none (B, K) bool from the categorical of probabilities (B, K)."""
        rest = (1 - p.sum(dim=-1, keepdim=True)).clamp(min=0) * (not self.exhaustive)
        share = torch.cat([p, rest], dim=-1).double().cpu()  # (B, K + 1)
        share = share / share.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        if self.temperature > 0:
            drawn = torch.multinomial(share ** (1 / self.temperature), 1, generator=self.generator)[:, 0]
        else:
            drawn = share.argmax(dim=-1)
        return torch.nn.functional.one_hot(drawn, share.shape[-1])[:, :-1].bool().to(p.device)


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
