"""MotionDDPM as a LightningModule: human motion from text or sound."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from litmotif.batches.motion import MotionBatch
from litmotif.seeding import generator

from ..core.evaluation import GenerativeModule
from ..core.modes import evaluating
from ..core.normalizer import Standardizer, Statistics
from ..diffusion.sampler_names import SamplerName, make_sampler
from ..diffusion.schedules import make_diffusion, scaled
from .foot_lock import lock_feet
from .generation import Condition, Generation, Given, MotionSampling, beginning
from .judge.module import load_evaluator
from .judge.motion_evaluation import Keys, MotionEvaluation
from .losses import MotionLosses
from .network import MotionTransformer, Network
from .objective import Draw, MotionObjective, MotionProcess, ObjectiveSettings
from .skeleton import MotionLayout
from .text import Text, make_text_encoder


class MotionDDPM(GenerativeModule):
    """Diffusion of human motion (Tevet et al., arXiv:2209.14916; Zhang et al., arXiv:2208.15001).

    Args:
        skeleton: names, parents, offsets, up and feet, from the data.
        features: what the columns mean, from the data.
        max_frames: longest motion, from the data.
        audio_size: features of a frame of sound, 0 for none, from the data.
        statistics: mean and standard deviation of the columns, from the data.
        network: its sizes.
        text: how captions are embedded.
        process: the noise that it learns to undo.
        objective: what is learned.
        sampling: how motion is drawn.
        evaluator: run folder or checkpoint of a ``MotionEvaluator`` of the same features, in which FID, R-precision,
            matching score, diversity and multimodality are measured; None leaves them out. Its weights stay there.
        repeats: motions made for each of the first 32 captions of a split, for multimodality; below 2 leaves it out.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    batch: ClassVar = MotionBatch
    architecture: ClassVar[frozenset[str]] = frozenset(
        {"skeleton", "features", "max_frames", "audio_size", "network", "text", "process"}
    )
    entries: ClassVar[tuple[str, ...]] = ("forward",)
    evaluation: MotionEvaluation

    def __init__(
        self,
        skeleton: dict[str, Any],
        features: dict[str, Any],
        max_frames: int,
        audio_size: int = 0,
        statistics: Statistics | None = None,
        network: Network = Network(),
        text: Text = Text(),
        process: MotionProcess = MotionProcess(),
        objective: ObjectiveSettings = ObjectiveSettings(),
        sampling: MotionSampling = MotionSampling(),
        evaluator: str | None = None,
        repeats: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        size, kind, learned = features["size"], self.group(MotionProcess), self.group(ObjectiveSettings)
        self.layout = MotionLayout(skeleton, features)
        self.normalizer = Standardizer(size, statistics)
        self.text = make_text_encoder(self.group(Text))
        widths = (0 if self.text is None else self.text.size, audio_size)
        self.network = MotionTransformer(size, kind.num_train_timesteps, max_frames, self.group(Network), *widths)
        self.losses = MotionLosses(learned.loss_weights, self.layout, noise_weighting=learned.noise_weighting)
        unscaled = make_diffusion(kind.num_train_timesteps, kind.beta_schedule, kind.prediction_type)
        diffusion = scaled(unscaled, kind.signal_scale)
        self.objective = MotionObjective(max_frames, self.losses, self.normalizer, diffusion, learned)
        drawn = self.group(MotionSampling)
        sampler = make_sampler(drawn.sampler, drawn.options)
        settings = (sampler, drawn.steps, drawn.guidance_scale, drawn.inpainting)
        finish = partial(lock_feet, self.layout) if drawn.foot_lock and self.layout.contacts else None
        self.generation = Generation(self.network, diffusion, size, max_frames, *settings, finish=finish)
        self.evaluation = MotionEvaluation(self.layout, sorted(self.losses.weights))

    def setup(self, stage: str) -> None:
        """Take the evaluator."""
        super().setup(stage)
        if stage != "predict":
            self.evaluation.judge_by(load_evaluator(self.hparams["evaluator"], self.hparams["features"]))

    # ------------------------------------------------------------------ training
    def training_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """Denoise motions, some with clean frames, some without their text or sound."""
        world, frames = self.trainer.world_size, batch.motion.shape[1]
        rows, mine = len(batch.motion) * world, slice(self.global_rank, None, world)
        source = generator(self.hparams["seed"], self.batches_so_far, device=self.device)
        draw = self.objective.draw(rows, source).cut(mine, frames)
        losses = self.objective(self.network, batch, self._condition(batch.captions, batch.audio), draw)
        loss = self.losses.total(losses).mean()
        self.log_means({"train/loss": loss} | {f"train/{name}": term.mean() for name, term in losses.items()}, rows)
        return loss

    def _condition(self, captions: Sequence[str], audio: Tensor | None) -> Condition:
        silent = torch.tensor([[not caption, False] for caption in captions])
        parts = (None if self.text is None else self.text(captions), audio, silent)
        return Condition(*(None if part is None else part.to(self.device) for part in parts))

    # ------------------------------------------------------------------ evaluation
    def evaluate(self, batch: MotionBatch) -> Tensor:
        """Make motions (B, T, F) from the captions and sounds of a batch, and compare."""
        draw = self._draw_each([(0, item) for item in batch.item.tolist()], batch.motion.shape[1])
        losses = self.objective(self.network, batch, self._condition(batch.captions, batch.audio), draw)
        self.evaluation.add_losses({"loss": self.losses.total(losses), **losses})
        made = self._make(batch, [(1, item) for item in batch.item.tolist()])
        rows = {"model": made, "noise": self.normalizer.physical(draw.noise)}
        if hasattr(self.data, "neighbours"):
            rows["neighbour"] = self.data.neighbours(batch.captions, batch.valid.sum(dim=1).tolist()).to(self.device)
        self.evaluation.add(rows, batch)
        self.evaluation.repeat(batch, made, self.hparams["repeats"], self._make, self._noise)
        return made

    def shown(self, batch: MotionBatch, made: Tensor) -> tuple[list[Tensor], list[str]]:
        """Four motions and their captions."""
        lengths = batch.valid.sum(dim=1).tolist()
        return [motion[:n] for motion, n in zip(made[:4], lengths, strict=False)], list(batch.captions[:4])

    def _draw_each(self, keys: Keys, frames: int) -> Draw:
        return self.objective.draw_each(self._sources(keys), frames, self.device)

    def _noise(self, keys: Keys, frames: int) -> Tensor:
        return self.normalizer.physical(self._draw_each(keys, frames).noise)

    def _sources(self, keys: Keys) -> list[torch.Generator]:
        return [generator(self.hparams["seed"], *key) for key in keys]

    # ------------------------------------------------------------------ making motion
    def predict_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """Motions (B, T, F), physical units, for the captions, sounds and lengths of a batch."""
        return self._make(batch, [(2, item) for item in batch.item.tolist()])

    def _make(self, batch: MotionBatch, keys: Keys, rows: Sequence[int] | None = None) -> Tensor:
        """The same for some rows of it."""
        rows = range(len(batch.captions)) if rows is None else rows
        valid, captions = batch.valid[list(rows)], [batch.captions[row] for row in rows]
        told = self._condition(captions, None if batch.audio is None else batch.audio[list(rows)])
        made = self.generation.physical(self.normalizer, valid.sum(dim=1).tolist(), self._sources(keys), told)
        return pad(made, (0, 0, 0, valid.shape[1] - made.shape[1]))

    def generate(
        self,
        text: str | Sequence[str] | None = None,
        audio: Tensor | None = None,
        num_frames: int = 60,
        prefix: Tensor | None = None,
        given: Given | None = None,
        guidance_scale: float | None = None,
        sampler: SamplerName | None = None,
        sampling_steps: int | None = None,
        overlap: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Make motion.

        Args:
            text: what it shall be, one or B of them.
            audio: features of sound (T, A) or (B, T, A) at the frame rate of the data.
            num_frames: T.
            prefix: how it begins (N, F) or (B, N, F), physical units.
            given: other entries that it shall have, physical units: keyframes, columns of some joints.
            guidance_scale: None takes the model's.
            sampler: None takes the model's.
            sampling_steps: model evaluations; None takes the model's.
            overlap: frames that windows share, for motion longer than ``max_frames``.
            seed: of the noise.

        Returns:
            (B, T, F), physical units; what was given comes back bit for bit.

        Raises:
            ValueError: texts, sounds and given frames that do not fit each other or the model.
        """
        captions = [text or ""] if text is None or isinstance(text, str) else list(text)
        audio = audio[None] if audio is not None and audio.dim() == 2 else audio
        if prefix is not None:
            begun = beginning(prefix.to(self.device), len(captions), num_frames)
            given = begun if given is None else given | begun
        found = None if sampler is None else make_sampler(sampler, None)
        generation = self.generation.changed(sampler=found, steps=sampling_steps, guidance_scale=guidance_scale)
        lengths, keys = [num_frames] * len(captions), [(3, seed, row) for row in range(len(captions))]
        with evaluating(self):
            told = self._condition(captions, audio)
            return generation.physical(self.normalizer, lengths, self._sources(keys), told, given, overlap)
