"""A clip: one uninterrupted stretch of human motion, with what is said and heard along it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..core import DataError
from .skeleton import Skeleton, vectors

Split = Literal["", "train", "val", "test"]
_SERIES = ("root_pos", "rotations", "positions", "contacts", "expressions", "features")
_EARLY = 0.1  # s; shorter than what a pause or a syllable takes


class Audio(NamedTuple):
    """Sound, one channel."""

    samples: Tensor
    """(N,) float32 in [-1, 1]."""
    rate: int
    """Hz."""


class Origin(NamedTuple):
    """The data set that a clip is of, as the texts in its folder say."""

    name: str = ""
    source: str = ""
    """Who made it and where it is from."""
    licence: str = ""


@dataclass(frozen=True)
class Clip:
    """T frames at a fixed rate; every reader lowers to it. Tensors are float32.

    Attributes:
        name: unique among the clips.
        fps: frames a second.
        skeleton: of J joints.
        root_pos: (T, 3) m in the world.
        rotations: (T, J, 4) unit quaternions x y z w, local to the parent; None where a file has positions only.
        positions: (T, J, 3) m in the world. From ``rotations`` by forward kinematics; where a file moves joints in
            their parents as well, the file's own: see ``stretch``.
        captions: what one could say of it; none where nothing is known.
        audio: what is heard from the first frame on, no shorter than the motion; None: nothing.
        contacts: (T, F) 1 where a joint of ``skeleton.feet`` touches the ground, 0 where not; None: not known.
        motion: what it was cut from: clips of one motion stay in one split. By default ``name``.
        source: the file it was read from.
        expressions: (T, E) coefficients of a face.
        features: (T, 263) of HumanML3D, as given.
        split: the split that its data set puts it in; empty where it has none.
        origin: the data set, with source and licence.
    """

    name: str
    fps: float
    skeleton: Skeleton
    root_pos: Tensor
    rotations: Tensor | None
    positions: Tensor
    captions: tuple[str, ...] = ()
    audio: Audio | None = None
    contacts: Tensor | None = None
    motion: str = ""
    source: str = ""
    expressions: Tensor | None = None
    features: Tensor | None = None
    split: Split = ""
    origin: Origin = Origin()  # noqa: RUF009, it is immutable

    def __post_init__(self) -> None:
        """Check that the parts are of one length and belong to the skeleton; sound that ends a moment early is padded.

        Raises:
            DataError: they are not, or sound is shorter than the motion by more than 0.1 s.
        """
        for key in _SERIES:
            if (value := getattr(self, key)) is not None:
                object.__setattr__(self, key, value.to(torch.float32))
        object.__setattr__(self, "captions", tuple(self.captions))
        object.__setattr__(self, "motion", self.motion or self.name)
        object.__setattr__(self, "origin", Origin(*self.origin))
        where, frames, joints = self.source or self.name, len(self.positions), len(self.skeleton.names)
        if not 0 < self.fps < float("inf"):
            raise DataError(f"{where}: fps={self.fps}: frames a second, above 0.")
        wanted = {"root_pos": (frames, 3), "rotations": (frames, joints, 4), "positions": (frames, joints, 3)}
        for key, value in self._series().items():
            if not len(value) or tuple(value.shape) != wanted.get(key, (frames, *value.shape[1:])):
                raise DataError(
                    f"{where}: {key} {tuple(value.shape)}: {frames} frames of {joints} joints, "
                    f"({', '.join(map(str, wanted.get(key, (frames, '...'))))}) is needed."
                )
        if self.contacts is not None and self.contacts.shape[1] != len(self.skeleton.feet):
            raise DataError(f"{where}: contacts of {self.contacts.shape[1]} feet; they are {self.skeleton.feet}.")
        if self.audio is not None:
            object.__setattr__(self, "audio", self._long_enough(Audio(*self.audio), where))

    @classmethod
    def posed(
        cls, name: str, fps: float, skeleton: Skeleton, root_pos: Tensor, rotations: Tensor, **rest: Any
    ) -> "Clip":
        """From a root (T, 3) and rotations (T, J, 4); positions follow by forward kinematics."""
        return cls(name, fps, skeleton, root_pos, rotations, skeleton.forward(root_pos, rotations), **rest)

    def __len__(self) -> int:
        """Frames T."""
        return len(self.positions)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self) / self.fps

    @property
    def stretch(self) -> float:
        """How far (m) rigid bones would put a joint from where it is, at most; 0 without rotations."""
        if self.rotations is None:
            return 0.0
        rigid = self.skeleton.forward(self.root_pos.double(), self.rotations.double())
        return float((rigid - self.positions).norm(dim=-1).max())

    def cut(self, start: int, stop: int, name: str | None = None, captions: Sequence[str] | None = None) -> "Clip":
        """Frames ``start`` to before ``stop``, with the sound of that time.

        Raises:
            DataError: there is no such frame.
        """
        if not 0 <= start < stop <= len(self):
            raise DataError(
                f"{self.source or self.name}: frames {start} to {stop} of {len(self)}: start < stop, inside."
            )
        parts: dict[str, Any] = {key: value[start:stop] for key, value in self._series().items()}
        if self.audio is not None:
            first, last = (round(frame / self.fps * self.audio.rate) for frame in (start, stop))
            parts["audio"] = Audio(self.audio.samples[first:last], self.audio.rate)
        said = self.captions if captions is None else tuple(captions)
        return replace(self, name=name or self.name, captions=said, **parts)

    def parts(self, frames: int) -> list["Clip"]:
        """Pieces of so many frames, the last one shorter, of the same motion; the clip itself where it is no longer."""
        if len(self) <= frames:
            return [self]
        starts = range(0, len(self), frames)
        return [self.cut(start, min(start + frames, len(self)), f"{self.name}@{start}") for start in starts]

    def _series(self) -> dict[str, Tensor]:
        """Everything that runs along the T frames."""
        return {key: value for key in _SERIES if (value := getattr(self, key)) is not None}

    def _long_enough(self, audio: Audio, where: str) -> Audio:
        samples = audio.samples.to(torch.float32)
        if samples.ndim != 1 or not audio.rate > 0 or not samples.isfinite().all():
            raise DataError(
                f"{where}: audio {tuple(samples.shape)} at {audio.rate} Hz: (N,) finite samples, above 0 Hz."
            )
        missing = self.seconds - len(samples) / audio.rate
        if missing > _EARLY:
            raise DataError(
                f"{where}: {len(samples) / audio.rate:.2f} s of audio at {audio.rate} Hz for {self.seconds:.2f} s of "
                "motion. Cut the motion; or where its rate is wrong, give data.source_fps."
            )
        silence = max(0, round(missing * audio.rate))
        return Audio(torch.nn.functional.pad(samples, (0, silence)), int(audio.rate))


def common_skeleton(clips: Sequence[Clip]) -> Skeleton:
    """The skeleton that all share; where bodies differ in size, with the mean of their offsets.

    Raises:
        DataError: there is no clip, or two differ in names, parents, up or feet; it names both files.
    """
    if not clips:
        raise DataError("No clip: give a folder with at least one.")
    first = clips[0]
    for other in clips[1:]:
        for key in ("names", "parents", "up", "feet"):
            one, two = getattr(first.skeleton, key), getattr(other.skeleton, key)
            if one != two:
                raise DataError(
                    f"{first.source or first.name} and {other.source or other.name} have different skeletons, {key}: "
                    f"{_difference(one, two)}. Put them into folders of their own, "
                    "or set data.body=common."
                )
    offsets = torch.tensor([clip.skeleton.offsets for clip in clips], dtype=torch.float64)
    if (offsets == offsets[0]).all():
        return first.skeleton
    return replace(first.skeleton, offsets=vectors(offsets.mean(dim=0)))


def _difference(one: Any, two: Any) -> str:
    if isinstance(one, str) or len(one) != len(two):
        return f"{one if isinstance(one, str) else len(one)} and {two if isinstance(two, str) else len(two)}"
    return next(f"{a} and {b} (entry {row})" for row, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
