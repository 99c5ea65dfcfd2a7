"""MotionDDPM as a LightningModule: human motion from text or sound."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ...core.checkpoint import load, plain
from ...core.module import BaseModule
from ...core.seeding import generator
from ..diffusion import BetaSchedule, Diffusion, LossWeighting, PredictionType, make_diffusion
from ..planner import SamplerName, make_sampler
from .batch import Batch
from .evaluation import MotionEvaluation
from .evaluator import MotionEvaluator
from .evaluators import Standardised
from .generation import Condition, Generation, Given, Inpainting, given_frames
from .losses import MotionLosses, NoiseWeighting
from .network import MotionTransformer
from .skeleton import MotionLayout
from .text import FrozenTextEncoder, HashedTextEncoder


def scaled(diffusion: Diffusion, signal_scale: float) -> Diffusion:
    """The same process with signal over noise, the root of its SNR, multiplied at each level.

    Raises:
        ValueError: a scale that is not positive.
    """
    if not signal_scale > 0:
        raise ValueError(f"signal_scale={signal_scale}: above 0, and below 1 for more noise.")
    kept = diffusion.alpha_bar
    return replace(diffusion, alpha_bar=kept / (kept + (1 - kept) / signal_scale**2))


REPEATED = 32
"""Captions for which motion is made several times."""


class MotionDDPM(BaseModule):
    """Diffusion of human motion (Tevet et al., arXiv:2209.14916; Zhang et al., arXiv:2208.15001).

    Args:
        skeleton: names, parents, offsets, up and feet, from the data.
        features: what the columns mean, from the data.
        max_frames: longest motion, from the data.
        audio_size: features of a frame of sound, 0 for none, from the data.
        hidden_size: token width.
        num_layers: blocks.
        num_heads: attention heads.
        mlp_ratio: width of the perceptrons over ``hidden_size``.
        dropout: rate in the blocks.
        frames_per_token: frames that one token tells of, 1 or even: attention over fewer tokens, and smoother motion.
        text_encoder: ``hashed`` learns words by their hashes and needs nothing else; a folder with a CLIP or
            sentence-transformer model is used frozen; None for a model without text.
        text_size: width of the hashed encoder.
        num_train_timesteps: noise levels K.
        beta_schedule: of the noise.
        signal_scale: multiplies signal over noise at each level. Frames resemble each other and so do columns: noise
            that is drawn for each alone leaves the whole of a motion recognisable until there is far more of it than in
            the usual schedules, as in large images (Hoogeboom et al., arXiv:2301.11093, section 3.1).
        prediction_type: what the network predicts.
        loss_weighting: weight of the reconstruction by its level.
        snr_gamma: where ``min_snr`` cuts.
        loss_weights: of the losses by name, see ``MotionLosses``; those left out take the requirement's.
        noise_weighting: how the losses in metres fall with the noise.
        condition_dropout: share of the motions whose text, and whose sound, is left out.
        clean_share: share of the motions of which some frames are clean, so that beginnings and keyframes can be given.
        sampler: ``ddpm``, ``ddim``, ``dpm_solver`` or ``diffusers``.
        sampler_options: of its constructor.
        sampling_steps: model evaluations a motion; None takes K.
        guidance_scale: of the text and the sound; 1 takes them as they are.
        inpainting: what happens to given entries, see ``Generation``.
        evaluator: run folder or checkpoint of a ``MotionEvaluator`` of the same features, in which FID, R-precision,
            matching score, diversity and multimodality are measured; None leaves them out. Its weights stay there.
        repeats: motions made for each of the first 32 captions of a split, for multimodality; below 2 leaves it out.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    architecture: ClassVar[frozenset[str]] = frozenset(
        {
            *("skeleton", "features", "max_frames", "audio_size", "hidden_size", "num_layers", "num_heads"),
            *("mlp_ratio", "frames_per_token", "text_encoder", "text_size", "num_train_timesteps"),
            *("beta_schedule", "signal_scale", "prediction_type"),
        }
    )
    entries: ClassVar[tuple[str, ...]] = ("forward",)

    def __init__(
        self,
        skeleton: dict[str, Any],
        features: dict[str, Any],
        max_frames: int,
        audio_size: int = 0,
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        frames_per_token: int = 1,
        text_encoder: str | None = "hashed",
        text_size: int = 128,
        num_train_timesteps: int = 50,
        beta_schedule: BetaSchedule = "squaredcos_cap_v2",
        signal_scale: float = 1.0,
        prediction_type: PredictionType = "sample",
        loss_weighting: LossWeighting = "uniform",
        snr_gamma: float = 5.0,
        loss_weights: dict[str, float] | None = None,
        noise_weighting: NoiseWeighting = "alpha_bar",
        condition_dropout: float = 0.1,
        clean_share: float = 0.1,
        sampler: SamplerName = "ddim",
        sampler_options: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        guidance_scale: float = 2.5,
        inpainting: Inpainting = "clean",
        evaluator: str | None = None,
        repeats: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, share in (("condition_dropout", condition_dropout), ("clean_share", clean_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share}: a share of the motions, 0 to 1.")
        self.layout = MotionLayout(skeleton, features)
        self.normalizer = Standardised(features["size"])
        self.text: HashedTextEncoder | None = None
        self.frozen: FrozenTextEncoder | None = None
        if text_encoder == "hashed":
            self.text = HashedTextEncoder(text_size)
        elif text_encoder is not None:
            self.frozen = FrozenTextEncoder(text_encoder)
        width = 0 if text_encoder is None else text_size if self.frozen is None else self.frozen.size
        self.network = MotionTransformer(
            features["size"],
            num_train_timesteps,
            max_frames,
            width,
            audio_size,
            hidden_size,
            num_layers,
            num_heads,
            mlp_ratio,
            dropout,
            frames_per_token,
        )
        self.diffusion = scaled(make_diffusion(num_train_timesteps, beta_schedule, prediction_type), signal_scale)
        self.losses = MotionLosses(loss_weights, self.layout, noise_weighting=noise_weighting)
        self.generation = Generation(
            self.network,
            self.diffusion,
            features["size"],
            max_frames,
            make_sampler(sampler, sampler_options),
            sampling_steps,
            guidance_scale,
            inpainting,
        )
        self.evaluation = MotionEvaluation(self.layout, sorted(self.losses.weights))

    def setup(self, stage: str) -> None:
        """Take the statistics of the data; a checkpoint brings its own afterwards."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "statistics"):
            self.normalizer.fit(**data.statistics)
        if stage == "predict":
            return
        if self.hparams["evaluator"] is None:
            rank_zero_info("model.evaluator is not set: no FID, R-precision, matching score, diversity, multimodality.")
        else:
            self.evaluation.judge_by(self._evaluator(self.hparams["evaluator"]))

    def _evaluator(self, path: str) -> MotionEvaluator:
        """The trained evaluator.

        Raises:
            ValueError: another model, or one of other features.
        """
        found = load(path)
        if not isinstance(found, MotionEvaluator):
            raise ValueError(f"model.evaluator={path}: a {type(found).__name__}. Give the run of a MotionEvaluator.")
        theirs, ours = (plain(module.hparams["features"]) for module in (found, self))
        if theirs != ours:
            raise ValueError(
                f"model.evaluator={path} was trained on features {theirs}, and these are {ours}. Train one on these: "
                "litmotif fit -c ddpm/motion_evaluator with the same data."
            )
        return found.requires_grad_(False)

    # ------------------------------------------------------------------ training
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Denoise motions, some with clean frames, some without their text or sound."""
        world, h = self.trainer.world_size, self.hparams
        rows, frames = len(batch.motion) * world, batch.motion.shape[1]
        mine = slice(self.global_rank, None, world)  # this rank's rows of the global batch's draw
        source = generator(h["seed"], self.batches_so_far, device=self.device)
        shape = (rows, self.network.max_frames, batch.motion.shape[2])  # whatever the longest motion of a rank is
        noise = torch.randn(shape, generator=source, device=self.device)[mine, :frames]
        level = self.diffusion.draw_levels((rows, 1), source, low=1)[mine]
        coins = torch.rand((4, rows, 1), generator=source, device=self.device)[:, mine]
        place = torch.rand((rows, self.network.max_frames), generator=source, device=self.device)[mine, :frames]
        clean = (coins[0] < h["clean_share"]) & self._clean_frames(coins[1], place)
        drop = torch.cat([coins[2], coins[3]], dim=1) < h["condition_dropout"]
        losses = self._losses(batch, torch.where(clean, 0, level), noise, drop)
        loss = self.losses.total(losses).mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=rows, sync_dist=True)
        for name, term in losses.items():
            self.log(f"train/{name}", term.mean(), on_step=False, on_epoch=True, batch_size=rows, sync_dist=True)
        return loss

    def _clean_frames(self, coin: Tensor, place: Tensor) -> Tensor:
        """A beginning of up to half a motion for every second row, single frames for the others: (B, T)."""
        frames = place.shape[1]
        begun = torch.arange(frames, device=place.device) < coin * frames
        return torch.where(coin < 0.5, begun, place < 0.1)

    def _losses(self, batch: Batch, levels: Tensor, noise: Tensor, drop: Tensor) -> dict[str, Tensor]:
        """Every loss (B,) of what the network makes of noisy motions."""
        h, diffusion = self.hparams, self.diffusion.to(self.device)
        x0 = self.normalizer.normalise(batch.motion, batch.valid)
        x = diffusion.add_noise(x0, noise, levels)
        text, drop = self._embed(batch.captions, drop)
        prediction = self.network(x, levels, batch.valid, text, batch.audio, drop).float()
        found = diffusion.to_x0(prediction, x, levels)
        weight = diffusion.loss_weight(levels, h["loss_weighting"], h["snr_gamma"])
        if h["prediction_type"] != "sample":  # the weight of an error of x_0 that is the same as that of the prediction
            snr = torch.where(levels > 0, diffusion.snr(levels), 0.0)
            weight = weight * (snr if h["prediction_type"] == "epsilon" else snr + 1).float()
        std = self.normalizer.std
        guess = found * std + self.normalizer.mean
        return self.losses(guess, batch.motion, batch.valid, std, diffusion.alpha_bar[levels], weight)  # type: ignore[no-any-return]

    def _embed(self, captions: Sequence[str], drop: Tensor) -> tuple[Tensor | None, Tensor]:
        """Texts (B, D), and which conditions to drop (B, 2) with empty captions among them."""
        silent = torch.tensor([not caption for caption in captions], device=drop.device)
        drop = torch.stack([drop[:, 0] | silent, drop[:, 1]], dim=1)
        if self.text is not None:
            return self.text(captions), drop
        return (None if self.frozen is None else self.frozen(captions).to(self.device)), drop

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Make motions from the captions and sounds of a batch, and compare."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same."""
        made = self._evaluate(batch)
        data: Any = getattr(self.trainer, "datamodule", None)
        if batch_idx == 0 and self.trainer.is_global_zero and hasattr(data, "show"):
            lengths = batch.valid.sum(dim=1).tolist()
            data.show([motion[:n] for motion, n in zip(made[:4], lengths, strict=False)], list(batch.captions[:4]))

    def _evaluate(self, batch: Batch) -> Tensor:
        items = batch.item.tolist()
        sources = [generator(self.hparams["seed"], 0, item) for item in items]
        noise = self._noise(sources, batch.motion.shape[1])
        levels = torch.stack([self.diffusion.draw_levels((1,), s, low=1) for s in sources]).to(self.device)
        nothing = torch.zeros(len(items), 2, dtype=torch.bool, device=self.device)
        losses = self._losses(batch, levels, noise, nothing)
        lengths = batch.valid.sum(dim=1).tolist()
        made = self._generate(lengths, [(1, item) for item in items], batch.captions, batch.audio)
        rows = {"model": made, "noise": noise * self.normalizer.std + self.normalizer.mean}
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "neighbours"):
            rows["neighbour"] = data.neighbours(batch.captions, lengths).to(self.device)
        self.evaluation.add(losses, self.losses.total(losses), rows, batch)
        if self.hparams["evaluator"] is not None and self.hparams["repeats"] > 1:
            self._repeat(batch, made)
        return made

    def _noise(self, sources: Sequence[torch.Generator], frames: int) -> Tensor:
        """Standard normal columns (B, T, F), a row from each generator; longer motion begins with the same frames."""
        noise = torch.empty(len(sources), self.network.max_frames, len(self.normalizer.mean))
        for row, source in zip(noise, sources, strict=True):
            row.normal_(generator=source)
        return noise[:, :frames].to(self.device)

    def _repeat(self, batch: Batch, made: Tensor) -> None:
        """More motions for the first captions of a split, beside those that were ``made`` (B, T, F)."""
        few = (batch.item < REPEATED).nonzero()[:, 0].tolist()
        valid, found, noise = batch.valid[few], [made[few]], []
        captions, lengths = [batch.captions[row] for row in few], valid.sum(dim=1).tolist()
        for again in range(self.hparams["repeats"]):
            keys = [(4, int(batch.item[row]), again) for row in few]
            draws = self._noise([generator(self.hparams["seed"], *key) for key in keys], made.shape[1])
            noise.append(draws * self.normalizer.std + self.normalizer.mean)
            if again and few:
                audio = None if batch.audio is None else batch.audio[few]
                motion = self._generate(lengths, keys, captions, audio)
                found.append(torch.nn.functional.pad(motion, (0, 0, 0, made.shape[1] - motion.shape[1])))
        self.evaluation.add_repeats("model", torch.stack(found), valid)
        self.evaluation.add_repeats("noise", torch.stack(noise), valid)

    def on_validation_epoch_end(self) -> None:
        """Log everything."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """The same."""
        self._log_evaluation("test")

    def _log_evaluation(self, split: str) -> None:
        for name, value in self.evaluation.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "loss")
        self.evaluation.reset()

    # ------------------------------------------------------------------ making motion
    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Motions (B, T, F), physical units, for the captions, sounds and lengths of a batch."""
        lengths = batch.valid.sum(dim=1).tolist()
        return self._generate(lengths, [(2, item) for item in batch.item.tolist()], batch.captions, batch.audio)

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
            prefix = prefix if prefix.dim() == 3 else prefix.expand(len(captions), *prefix.shape)
            begun = given_frames(prefix.to(self.device), range(prefix.shape[1]), num_frames)
            given = begun if given is None else given | begun
        changes = {"guidance_scale": guidance_scale, "steps": sampling_steps}
        changed: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if sampler is not None:
            changed["sampler"] = make_sampler(sampler, None)
        training = self.training
        self.eval()
        keys = [(3, seed, row) for row in range(len(captions))]
        made = self._generate([num_frames] * len(captions), keys, captions, audio, given, overlap, changed)
        self.train(training)
        return made

    def _generate(
        self,
        lengths: Sequence[int],
        keys: Sequence[tuple[int, ...]],
        captions: Sequence[str],
        audio: Tensor | None = None,
        given: Given | None = None,
        overlap: int | None = None,
        changes: dict[str, Any] | None = None,
    ) -> Tensor:
        """Motions in physical units, each row with a random stream of its own."""
        sources = [generator(self.hparams["seed"], *key) for key in keys]
        mean, std = self.normalizer.mean, self.normalizer.std
        with torch.no_grad():
            nothing = torch.zeros(len(lengths), 2, dtype=torch.bool, device=self.device)
            text, drop = self._embed(captions, nothing)
        heard = None if audio is None else audio.to(self.device)
        scaled = None if given is None else Given((given.values.to(self.device) - mean) / std, given.known)
        generation = replace(self.generation, **(changes or {}))
        made = generation.generate(lengths, sources, Condition(text, heard, drop), scaled, overlap, self.device)
        motion = made * std + mean
        if given is not None:
            motion = torch.where(given.known, given.values.to(motion), motion)
        count = torch.tensor(list(lengths), device=motion.device)
        return motion.masked_fill((torch.arange(motion.shape[1], device=motion.device) >= count[:, None])[..., None], 0)
