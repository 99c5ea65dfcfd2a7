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
    independent keys would leave prod(1 - p) of the frames silent. Where the columns are events, a rest, keys that begin
    and a key that goes on, what kind of event comes is drawn as it was learnt, and the temperature is of the key: so
    rests and note lengths stay those of the music. Of any other number each key has its coin.

    Attributes:
        temperature: T; of coins it divides the logits. 0 takes what is likeliest of a melody, else every key from
            ``threshold`` on.
        threshold: of probability, for ``temperature`` 0.
        polyphony: at most so many keys a frame, the likeliest of those chosen; None for any number.
        generator: source of the randomness.
        keys: the columns are events, one of which happens in every frame: those of keys that begin; None where all are
            keys that sound.
    """

    temperature: float
    threshold: float
    polyphony: int | None
    generator: torch.Generator
    keys: slice | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Keys (B, K) bool of one frame from its logits (B, K)."""
        if self.keys is not None:
            return self._event(logits.sigmoid().double().cpu(), self.keys).to(logits.device)
        if self.polyphony == 1:
            p = logits.sigmoid().double().cpu()
            rest = (1 - p.sum(dim=-1, keepdim=True)).clamp(min=0)
            return self._one(torch.cat([p, rest], dim=-1), self.temperature)[:, :-1].to(logits.device)
        if self.temperature > 0:
            coin = torch.rand(logits.shape, generator=self.generator).to(logits.device)
            chosen = coin < (logits / self.temperature).sigmoid()
        else:
            chosen = logits.sigmoid() >= self.threshold
        if self.polyphony is None or self.polyphony >= logits.shape[-1]:
            return chosen
        best = logits.masked_fill(~chosen, -torch.inf).topk(self.polyphony, dim=-1).indices
        return chosen & torch.zeros_like(chosen).scatter(-1, best, True)

    def _event(self, p: Tensor, keys: slice) -> Tensor:
        """One column (B, K) bool of probabilities (B, K): its kind first, then the key."""
        if not self.temperature:
            return self._one(p, 0.0)
        begins, others = p[:, keys], torch.ones(p.shape[-1], dtype=torch.bool)
        others[keys] = False
        kinds = self._one(torch.cat([begins.sum(dim=-1, keepdim=True), p[:, others]], dim=-1), 1.0)
        drawn = torch.zeros_like(p, dtype=torch.bool)
        drawn[:, keys] = self._one(begins, self.temperature) & kinds[:, :1]
        drawn[:, others] = kinds[:, 1:]
        return drawn

    def _one(self, p: Tensor, temperature: float) -> Tensor:
        """One column (B, N) bool from the categorical of p^(1 / T), of p (B, N) float64."""
        share = p / p.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
        if temperature > 0:
            drawn = torch.multinomial(share ** (1 / temperature), 1, generator=self.generator)[:, 0]
        else:
            drawn = share.argmax(dim=-1)
        return torch.nn.functional.one_hot(drawn, p.shape[-1]).bool()


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
