"""MotionClips: human motion with what is said of it and heard along it, from files or generated."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from torch import Tensor

from ..core import DataError, SplitDataModule
from ..files.broken import MAX_BAD, Tally
from ..splits import deal, stand_in
from .captions import Captions
from .clip import Clip, common_skeleton
from .common import grounded, to_common
from .draw import save_film, strip
from .features import canonical, describe, resample, to_clip
from .neighbours import nearest
from .procedural import generate
from .prompt import MotionPrompt
from .readers import Format, read_folder
from .rooting import rooted
from .skeleton import Skeleton
from .speech import generate_speech
from .table import ClipTable, make_row
from .writers import write_bvh, write_npz

STRETCH = 0.05
"""m: joints further than this from where rigid bones put them are worth a warning."""


class MotionClips(SplitDataModule):
    """Clips of one skeleton: the files' own, or the common one for files of many bodies.

    Without ``root`` they are generated in seconds: a person of 22 joints who walks, turns, waves, squats, kicks, with
    captions (``generated: motion``), or who talks and steps with the hands and feet on the beat (``speech``). With
    ``root`` they come from files, see ``readers``.

    Args:
        root: file or folder.
        format: of the files; ``auto`` recognises them by what they hold, ``mixed`` takes a folder of data sets.
        options: of the format, such as ``{audio_rate: 16000}``, see ``read_folder``.
        source_fps: frames a second, where the files do not say, or say it wrongly.
        max_bad: share of broken files that is tolerated: they are left out, with a warning that counts them.
        said: where captions come from: ``auto``, files or names, see ``captions``.
        generated: what is generated without ``root``.
        clips: how many.
        body: ``own`` keeps the skeleton of the files, which have to share it; ``common`` tells every clip as one
            person of 22 joints who stands on the ground, see ``common``.
        kind: of the columns: ``rot6d``, ``rot6d_velocity``, ``axis_angle`` or ``positions``, see ``features``.
        contacts: add columns that say which feet touch the ground, see ``features.stands``; rotations only.
        fps: resample to so many frames a second; None keeps the files' own.
        frames: longest motion that is shown at once.
        shortest: clips with fewer frames are left out.
        cut: whether clips longer than ``frames`` become several, so that all of them is shown, also for validation.
        audio_bands: bands of log-mel where there is sound; 0 leaves the sound out.
        val: share of the motions held out for validation, where the files do not say (HumanML3D's lists do); 0
            validates on the training motions.
        test: share of the motions held out for the test; 0 tests on the training motions.
        std_floor: least standard deviation of a column, so that joints that never move do not matter.
        **kwargs: batch sizes, steps an epoch, workers, seed: see ``BaseDataModule``.
    """

    links = ("skeleton", "features", "max_frames", "audio_size", "statistics")
    prompt = MotionPrompt

    def __init__(
        self,
        root: str | None = None,
        format: Format = "auto",
        options: dict[str, Any] | None = None,
        source_fps: float | None = None,
        max_bad: float = MAX_BAD,
        said: Captions = "auto",
        generated: Literal["motion", "speech"] = "motion",
        clips: int = 1000,
        body: Literal["own", "common"] = "own",
        kind: Literal["rot6d", "rot6d_velocity", "axis_angle", "positions"] = "rot6d",
        contacts: bool = False,
        fps: float | None = 20.0,
        frames: int = 120,
        shortest: int = 20,
        cut: bool = False,
        audio_bands: int = 32,
        val: float = 0.1,
        test: float = 0.1,
        std_floor: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if clips < 3 or frames < 4 or shortest < 4 or audio_bands < 0:
            raise DataError(
                f"clips={clips}, frames={frames}, shortest={shortest}, audio_bands={audio_bands}: at least 3, 4, 4, 0."
            )
        self.root, self.frames = root, frames
        self._splits: dict[str, ClipTable] | None = None
        self._skeleton: Skeleton | None = None
        self._shown: list[Clip] = []

    # ------------------------------------------------------------------ what a module must know
    @property
    def skeleton(self) -> dict[str, Any]:
        """Names, parents, offsets, up and feet."""
        self.split("train")
        assert self._skeleton is not None  # noqa: S101 (made with the splits)
        return self._skeleton.plain

    @cached_property
    def features(self) -> dict[str, Any]:
        """What the columns of a motion mean."""
        self.split("train")
        return self._features

    @property
    def audio_size(self) -> int:
        """Features A of a frame of sound; 0 without sound."""
        audio = self.split("train").rows[0].audio
        return 0 if audio is None else audio.shape[1]

    @property
    def max_frames(self) -> int:
        """Longest motion that a batch has."""
        return self.frames

    @cached_property
    def statistics(self) -> dict[str, list[float]]:
        """Mean and standard deviation (F,) over all frames of the training split; never of a file by itself."""
        frames = torch.cat([row.motion for row in self.split("train").rows]).double()
        std = frames.std(dim=0, correction=0).clamp_min(self.hparams["std_floor"])
        return {"mean": frames.mean(dim=0).tolist(), "std": std.tolist()}

    # ------------------------------------------------------------------ results
    def clip(self, motion: Tensor, name: str, caption: str = "") -> Clip:
        """A motion (T, F) as a clip."""
        self.split("train")
        assert self._skeleton is not None  # noqa: S101
        said = (caption,) if caption else ()
        return to_clip(motion.detach().cpu(), self.features, self._skeleton, name, captions=said)

    def neighbours(self, captions: Sequence[str], lengths: Sequence[int]) -> Tensor:
        """For each caption the training motion of the most similar one (B, T, F), see ``nearest``."""
        return nearest(self.split("train"), captions, lengths)

    def show(self, motions: list[Tensor], captions: list[str]) -> None:
        """Keep motions (T, F) for the pictures of a run."""
        pairs = zip(motions, captions, strict=True)
        self._shown = [self.clip(motion, f"motion {k}", said) for k, (motion, said) in enumerate(pairs)]

    def figures(self) -> dict[str, Figure]:
        """Moments of the motions that were shown last."""
        return {"motions": strip(self._shown)} if self._shown else {}

    def write(self, motion: Tensor, caption: str, path: Path) -> list[Path]:
        """Write ``path``.bvh (where the columns are rotations), ``path``.npz and ``path``.gif; these files.

        Args:
            motion: (T, F).
            caption: what it was made from.
            path: without an ending; its folder exists.
        """
        self.split("train")
        assert self._skeleton is not None  # noqa: S101
        return write_motion(motion, self._skeleton.plain, self.features, path, caption)

    # ------------------------------------------------------------------ data
    def split(self, name: str) -> ClipTable:
        """The clips of a split."""
        if self._splits is None:
            self._splits = self._load()
        return self._splits[name]

    def _load(self) -> dict[str, ClipTable]:
        h = self.hparams
        if self.root is None:
            rank_zero_info(f"data.root is not set: {h['clips']} generated clips ({h['generated']}).")
            clips = (generate_speech if h["generated"] == "speech" else generate)(h["clips"], self.seed)
        else:
            read = (h["format"], h["source_fps"], h["said"], h["max_bad"])
            clips = read_folder(Path(self.root), *read, **h["options"] or {})
        clips = [rooted(clip if h["fps"] is None else resample(clip, h["fps"])) for clip in clips]
        if h["body"] == "common":
            clips = self._common(clips)
        if h["cut"]:
            clips = [part for clip in clips for part in clip.parts(self.frames)]
        clips = [canonical(clip) for clip in clips if len(clip) >= h["shortest"]]
        if not clips:
            raise DataError(f"no clip has {h['shortest']} frames: lower data.shortest, or raise data.fps.")
        self._skeleton = common_skeleton(clips)
        clips = [replace(clip, skeleton=self._skeleton) for clip in clips]
        if h["kind"] != "positions" and any(clip.rotations is None for clip in clips):
            raise DataError(f"data.kind={h['kind']}: these files hold positions only. Set data.kind=positions.")
        feet = len(self._skeleton.feet) if h["contacts"] else 0
        if h["kind"] != "positions":
            _warn_of_stretch(clips)
        self._features = describe(h["kind"], len(self._skeleton.names), clips[0].fps, contacts=feet)
        dealt = self._deal(clips)
        rows = [make_row(clip, self._features, h["audio_bands"]) for clip in clips]
        for origin in dict.fromkeys(clip.origin for clip in clips):
            about = "; ".join(filter(None, (origin.source, origin.licence))) or "no source or licence stated"
            rank_zero_info(_amount(origin.name or "data", [c for c in clips if c.origin == origin]) + f": {about}")
        for name, numbers in dealt.items():
            rank_zero_info(_amount(name, [clips[k] for k in numbers]))
        return {
            name: ClipTable([rows[k] for k in of], self.frames, self._features["fps"], name == "train")
            for name, of in dealt.items()
        }

    def _common(self, clips: Sequence[Clip]) -> list[Clip]:
        """All on the common skeleton, but for those whose bodies cannot be told so, if they are few."""
        tally, found = Tally(self.root, len(clips), self.hparams["max_bad"]), list[Clip]()
        for clip in clips:
            with tally.member(clip.source or clip.name):
                found.append(grounded(to_common(clip)))
        tally.settle()
        return found

    def _deal(self, clips: Sequence[Clip]) -> dict[str, list[int]]:
        """Numbers of clips by split: as their files say, or dealt out by motion."""
        shares = {"train": 1 - self.hparams["val"] - self.hparams["test"]}
        shares |= {name: self.hparams[name] for name in ("val", "test")}
        if not any(clip.split for clip in clips):
            return stand_in(deal([clip.motion for clip in clips], shares, self.seed), shares)
        listed = {name: [k for k, clip in enumerate(clips) if clip.split == name] for name in ("", *shares)}
        unlisted, listed = listed.pop(""), stand_in(listed, shares)
        if unlisted or not all(listed.values()):
            counts = ", ".join(f"{name} {len(numbers)}" for name, numbers in listed.items())
            raise DataError(
                f"{self.root}: lists of splits name {counts} of {len(clips)} clips: all must have some, but where "
                "data.val or data.test is 0."
            )
        return listed


def write_motion(
    motion: Tensor, skeleton: Mapping[str, Any], features: Mapping[str, Any], path: str | Path, caption: str = ""
) -> list[Path]:
    """Files of a motion that a model has made, no datamodule needed: the model knows its skeleton and features.

    Args:
        motion: (T, F), one of ``model.generate(...)``.
        skeleton: ``model.hparams["skeleton"]``.
        features: ``model.hparams["features"]``.
        path: without an ending; its folder exists.
        caption: what it was made from.

    Returns:
        ``path``.bvh (where the columns are rotations), ``path``.npz and ``path``.gif.
    """
    said = (caption,) if caption else ()
    clip = to_clip(motion.detach().cpu(), features, Skeleton.of(skeleton), Path(path).name, captions=said)
    bvh, npz, gif = (Path(path).with_suffix(f".{ending}") for ending in ("bvh", "npz", "gif"))
    if clip.rotations is not None:
        write_bvh(clip, bvh)
    write_npz(clip, npz)
    save_film(gif, [clip])
    return [npz, gif] if clip.rotations is None else [bvh, npz, gif]


def _warn_of_stretch(clips: Sequence[Clip]) -> None:
    """Say where rotations on rigid bones would put joints elsewhere than the files do."""
    off = [clip for clip in clips if clip.stretch > STRETCH]
    if off:
        worst = max(off, key=lambda clip: clip.stretch)
        warnings.warn(
            f"{len(off)} of {len(clips)} clips have bones that change their lengths, {worst.source or worst.name} by "
            f"{100 * worst.stretch:.0f} cm: rotations do not hold that. data.kind=positions does.",
            stacklevel=2,
        )


def _amount(name: str, clips: Sequence[Clip]) -> str:
    return f"{name}: {len(clips):,} clips, {sum(clip.seconds for clip in clips) / 60:.1f} minutes"
