"""From noise to motion: whole, from a beginning, between keyframes, around given joints, longer than the model sees.

All of it is one idea. Some entries of a motion are given (``Given``), the sampler makes the rest. Where all columns of
a frame are given, it can stand at noise level 0 among the noisy ones; where some are, they are mixed in. Motion here is
in the units of the network, but for ``Generation.physical``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..core.normalizer import Standardizer
from ..diffusion.process import Diffusion, uniform_path
from ..diffusion.sampler_names import Sampling
from ..diffusion.samplers import DDIM, Denoiser, Noise, Sampler, Streams, classifier_free

Inpainting = Literal["clean", "replace", "repaint"]
INPAINTINGS = ("clean", "replace", "repaint")


@dataclass(frozen=True)
class MotionSampling(Sampling):
    """Sampling of motion.

    Attributes:
        guidance_scale: of the text and the sound; 1 takes them as they are.
        inpainting: what happens to given entries, see ``Generation``.
        foot_lock: hold feet where the model says that they stand, see ``foot_lock``; for features with contacts.
    """

    guidance_scale: float = 2.5
    inpainting: Inpainting = "clean"
    foot_lock: bool = True


Finish = Callable[[Tensor, Tensor], Tensor]
"""(motion (B, T, F), frames that exist (B, T)) -> motion, physical units."""


class Network(Protocol):
    """The denoiser, see ``MotionTransformer.forward``."""

    def __call__(
        self,
        x: Tensor,
        levels: Tensor,
        valid: Tensor,
        condition: Tensor | None = None,
        audio: Tensor | None = None,
        drop: Tensor | None = None,
    ) -> Tensor:
        """Predict what the process asks for."""


class Condition(NamedTuple):
    """What B motions shall be like.

    Attributes:
        text: embeddings (B, D); None for no text.
        audio: features (B, T, A) at the motion's frame rate; None for no audio.
        drop: rows without a text, or without audio (B, 2) bool; None where all have what there is.
    """

    text: Tensor | None = None
    audio: Tensor | None = None
    drop: Tensor | None = None


class Given(NamedTuple):
    """The entries of B motions that are given.

    Attributes:
        values: (B, T, F); anything where not known.
        known: (B, T, F) bool.
    """

    values: Tensor
    known: Tensor

    def __or__(self, other: "Given") -> "Given":
        """Both; what ``other`` knows comes first."""
        return Given(torch.where(other.known, other.values, self.values), self.known | other.known)

    def window(self, start: int, stop: int) -> "Given":
        """Frames ``start`` to ``stop``, not included."""
        return Given(self.values[:, start:stop], self.known[:, start:stop])


def given_frames(frames: Tensor, at: Sequence[int], num_frames: int) -> Given:
    """Frames that are given: a beginning, an end, keyframes.

    Args:
        frames: (B, N, F).
        at: where each stands, N of 0 to ``num_frames`` - 1; ``range(N)`` for a beginning.
        num_frames: T.

    Raises:
        ValueError: not as many places as frames, or a place outside the motion.
    """
    if len(at) != frames.shape[1] or any(not 0 <= place < num_frames for place in at):
        raise ArgumentError(
            f"{frames.shape[1]} given frames at {list(at)}: each needs one place of 0 to num_frames - 1 = "
            f"{num_frames - 1}."
        )
    values = frames.new_zeros(len(frames), num_frames, frames.shape[-1])
    known = torch.zeros_like(values, dtype=torch.bool)
    values[:, list(at)], known[:, list(at)] = frames, True
    return Given(values, known)


def beginning(prefix: Tensor, rows: int, num_frames: int) -> Given:
    """How motions begin: (N, F) for all of them, or (B, N, F)."""
    prefix = prefix if prefix.dim() == 3 else prefix.expand(rows, *prefix.shape)
    return given_frames(prefix, range(prefix.shape[1]), num_frames)


def given_columns(motion: Tensor, columns: Tensor) -> Given:
    """Columns that are given, such as those of the legs while the arms are made anew.

    Args:
        motion: (B, T, F).
        columns: which stay (F,) bool.
    """
    return Given(motion, columns.to(motion.device).expand_as(motion))


def motion_noise(sources: Sequence[torch.Generator], lengths: Sequence[int]) -> Noise:
    """Noise whose rows have a generator each and draw for their own frames alone, so that none knows its neighbours.

    Args:
        sources: one a row.
        lengths: frames of each row; behind them noise is 0.

    Returns:
        A source for shapes (B, T, ...); any other shape is drawn from the first row's generator.
    """

    def draw(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        device = sources[0].device
        if len(shape) < 3:  # the seed of a scheduler that draws for all rows at once; the row itself goes on unmoved
            return torch.randn(tuple(shape), generator=sources[0].clone_state(), device=device, dtype=dtype)
        made = torch.zeros(tuple(shape), dtype=dtype, device=device)
        for row, source, frames in zip(made, sources, lengths, strict=True):
            row[:frames] = torch.randn((frames, *shape[2:]), generator=source, device=device, dtype=dtype)
        return made

    return draw


@dataclass(frozen=True, eq=False)
class Generation:
    """A denoiser with what it takes to make motion.

    Attributes:
        network: predictions from noisy motion.
        diffusion: the process that it was trained on.
        features: columns F of a frame.
        max_frames: frames that the network sees at once.
        sampler: which; without given frames, or with ``replace``, also ``DiffusersSampler``.
        steps: model evaluations; None takes one a level.
        guidance_scale: 1 is the condition alone, 0 none, above 1 more than asked for.
        inpainting: what happens to given entries. ``clean``: whole frames stand at noise level 0, which the network has
            to know from training, other entries as in ``replace``. ``replace``: they are mixed into x_0-hat at each
            step, and the sampler renoises it (Tevet et al., arXiv:2209.14916, section 3). ``repaint``: they are mixed
            into x_k at each step, noised as x_k is (Lugmayr et al., arXiv:2201.09865, eq. 8).
        resamples: times U that ``repaint`` takes each step, going back between them, so that what is made agrees with
            what is given (ibid., algorithm 1); multiplies the evaluations.
        finish: what is done to motion in physical units at the end, such as ``foot_lock.lock_feet``.

    Raises:
        ValueError: an unknown name, or a number out of its range.
    """

    network: Network
    diffusion: Diffusion
    features: int
    max_frames: int
    sampler: Sampler = field(default_factory=DDIM)
    steps: int | None = None
    guidance_scale: float = 1.0
    inpainting: Inpainting = "clean"
    resamples: int = 1
    finish: Finish | None = None

    def __post_init__(self) -> None:
        if self.inpainting not in INPAINTINGS:
            raise ArgumentError(f"inpainting={self.inpainting!r}: choose one of {', '.join(INPAINTINGS)}.")
        if not (math.isfinite(self.guidance_scale) and self.guidance_scale >= 0):
            raise ArgumentError(f"guidance_scale={self.guidance_scale}: 0 (no condition), 1 (the condition) or more.")
        if self.resamples < 1 or (self.resamples > 1 and self.inpainting != "repaint"):
            raise ArgumentError(f"resamples={self.resamples}: at least 1, and above 1 only with inpainting='repaint'.")

    def changed(self, **settings: Any) -> "Generation":
        """The same with those settings that are not None."""
        return replace(self, **{name: value for name, value in settings.items() if value is not None})

    @torch.no_grad()
    def generate(
        self,
        lengths: Sequence[int],
        sources: Sequence[torch.Generator],
        condition: Condition | None = None,
        given: Given | None = None,
        overlap: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Make B motions; each is a function of its own length, generator, condition and given entries.

        Motion of more than ``max_frames`` frames is made in windows, each beginning with the last ``overlap`` frames of
        the one before as given frames, and each with the same text.

        Args:
            lengths: frames of each motion.
            sources: a generator for each.
            condition: what they shall be like.
            given: entries that they shall have.
            overlap: frames that consecutive windows share, 1 to ``max_frames`` - 1; None refuses longer motion.
            device: of the network.

        Returns:
            (B, T, F) float32 with T the longest length: given entries bit for bit, 0 behind a motion's end.

        Raises:
            ValueError: lengths, generators, condition and given entries that do not fit each other or the network.
        """
        rows, frames = len(lengths), max(lengths)
        condition = condition or Condition()
        free = given is None
        if given is None:
            empty = torch.zeros(rows, frames, self.features, device=device)
            given = Given(empty, empty.bool())
        self._check(lengths, sources, condition, given, overlap)
        made = given.values.new_zeros(rows, frames, self.features)
        shared = overlap if overlap is not None and frames > self.max_frames else 0
        for start in range(0, frames - shared, self.max_frames - shared):
            stop = min(start + self.max_frames, frames)
            part = given.window(start, stop)
            if start:
                part = part | given_frames(made[:, start : start + shared], range(shared), stop - start)
            heard = None if condition.audio is None else condition.audio[:, start:stop]
            inside = [min(max(length - start, 0), stop - start) for length in lengths]
            make = self._inpaint if self.inpainting != "repaint" or (free and not start) else self._repaint
            made[:, start:stop] = self._window(make, inside, sources, condition._replace(audio=heard), part)
        return made

    @torch.no_grad()
    def physical(
        self,
        normalizer: Standardizer,
        lengths: Sequence[int],
        sources: Sequence[torch.Generator],
        condition: Condition | None = None,
        given: Given | None = None,
        overlap: int | None = None,
    ) -> Tensor:
        """What ``generate`` makes, with given entries and the result (B, T, F) in the units that motion has."""
        device, told = normalizer.mean.device, None
        if given is not None:
            given = Given(given.values.to(device), given.known.to(device))
            told = Given(normalizer(given.values), given.known)
        motion = normalizer.physical(self.generate(lengths, sources, condition, told, overlap, device))
        count = torch.tensor(list(lengths), device=device)
        valid = torch.arange(motion.shape[1], device=device) < count[:, None]  # (B, T)
        if self.finish is not None:
            motion = self.finish(motion, valid)
        if given is not None:
            motion = torch.where(given.known, given.values, motion)  # the way there and back rounds
        return motion.masked_fill(~valid[..., None], 0)

    def _check(
        self,
        lengths: Sequence[int],
        sources: Sequence[torch.Generator],
        condition: Condition,
        given: Given,
        overlap: int | None,
    ) -> None:
        rows, frames = len(lengths), max(lengths)
        if min(lengths) < 1:
            raise ArgumentError(f"num_frames={min(lengths)}: at least 1.")
        if overlap is None and frames > self.max_frames:
            raise ArgumentError(
                f"num_frames={frames}: this model makes at most max_frames={self.max_frames} at once. Set overlap, the "
                "frames that consecutive windows share, for longer motion."
            )
        if overlap is not None and not 1 <= overlap < self.max_frames:
            raise ArgumentError(f"overlap={overlap}: 1 to max_frames - 1 = {self.max_frames - 1} frames.")
        if given.values.shape != (rows, frames, self.features) or given.known.shape != given.values.shape:
            raise ArgumentError(
                f"given entries of shapes {tuple(given.values.shape)} and {tuple(given.known.shape)}: values and known "
                f"are (B, T, F) = {(rows, frames, self.features)} here."
            )
        if condition.audio is not None and condition.audio.shape[1] < frames:
            raise ArgumentError(
                f"audio of {condition.audio.shape[1]} frames for num_frames={frames}: give longer audio or ask for "
                "less motion."
            )
        counts = {"generators": len(sources)} | {
            name: len(part) for name, part in condition._asdict().items() if part is not None
        }
        for name, count in counts.items():
            if count != rows:
                raise ArgumentError(f"{count} rows of {name} for {rows} motions: one a motion is needed.")

    def _window(
        self,
        make: Callable[[Denoiser, Tensor, Given, Noise], Tensor],
        lengths: Sequence[int],
        sources: Sequence[torch.Generator],
        condition: Condition,
        given: Given,
    ) -> Tensor:
        """At most ``max_frames`` frames (B, T, F)."""
        values = given.values
        count = torch.tensor(lengths, device=values.device)
        valid = torch.arange(values.shape[1], device=values.device) < count[:, None]  # (B, T)
        given = Given(values, given.known & valid[..., None])
        noise = motion_noise(sources, lengths)
        x = noise(values.shape, values.dtype).to(values.device)
        made = make(self._denoiser(condition, valid), x, given, noise)
        return torch.where(given.known, values, made).masked_fill(~valid[..., None], 0)

    def _denoiser(self, condition: Condition, valid: Tensor) -> Denoiser:
        """The network under its condition, guided."""

        def told(x: Streams, levels: Streams, drop: Tensor) -> Streams:
            copies = len(drop) // len(valid)  # 2 in the doubled batch
            text, audio = (
                None if part is None else part.repeat(copies, *[1] * (part.dim() - 1))
                for part in (condition.text, condition.audio)
            )
            return (self.network(x[0], levels[0], valid.repeat(copies, 1), text, audio, drop),)

        nothing = torch.ones(len(valid), 2, dtype=torch.bool, device=valid.device)
        drop = ~nothing if condition.drop is None else condition.drop
        if self.guidance_scale in (0, 1):
            only = drop if self.guidance_scale else nothing
            return lambda x, levels: told(x, levels, only)
        return classifier_free(told, drop, nothing, self.guidance_scale)

    def _path(self) -> Tensor:
        top = self.diffusion.num_train_timesteps
        return uniform_path(top, self.steps or top)  # (steps + 1,)

    def _inpaint(self, denoise: Denoiser, x: Tensor, given: Given, noise: Noise) -> Tensor:
        """One run of the sampler: given frames at level 0 if they may, other given entries mixed into x_0-hat."""
        values, known = given
        path = self._path()
        if self.inpainting == "clean" and (whole := known.all(dim=-1)).any():  # (B, T)
            path = path[:, None, None] * ~whole.cpu()  # (steps + 1, B, T)
            x = torch.where(whole[..., None], values, x)

        def mix(x0: Streams, x: Streams, levels: Streams) -> Streams:
            return (torch.where(known, values, x0[0]),)

        guide = mix if known.any() else None
        return self.sampler.sample(denoise, (self.diffusion,), (x,), (path,), noise, guide)[0]

    def _repaint(self, denoise: Denoiser, x: Tensor, given: Given, noise: Noise) -> Tensor:
        """The sampler step by step, given entries noised beside what it makes."""
        values, known = given
        diffusion = self.diffusion.to(x.device)
        for step in self._path().unfold(0, 2, 1):
            here, there = step.to(x.device)
            for again in reversed(range(self.resamples if there > 0 else 1)):
                (x,) = self.sampler.sample(denoise, (diffusion,), (x,), (step,), noise)
                drawn = noise(x.shape, x.dtype).to(x.device)
                x = torch.where(known, diffusion.add_noise(values, drawn, there), x)
                if again:
                    x = diffusion.renoise(x, noise(x.shape, x.dtype).to(x.device), there, here)
        return x
