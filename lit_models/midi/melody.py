"""MelodyTransformer: the keys of the next frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torchmetrics import Metric

from ..core.checkpoint import load
from ..core.modes import evaluating
from ..core.seeding import generator
from . import losses
from .batch import Batch
from .evaluation import MODEL
from .generation import Choice, Encoder, continue_roll
from .metrics import KeyDetection, Likelihood
from .module import SequenceModule
from .network import Hidden, InputNormalizer
from .pitch import pitch_stack
from .transformer import CausalTransformer

UNTUNED = 0.5


class MelodyTransformer(SequenceModule):
    """64 features, or the keys of a frame -> the probability of each key in the next frame.

    The loss is the negative log-likelihood of independent keys given the past, summed over keys: the benchmark of
    Boulanger-Lewandowski et al. (arXiv:1206.6392) and Bai et al. (arXiv:1803.01271). The name is the requirement's; its
    layers are dense and LSTM, which is what makes it exportable. ``backbone="transformer"`` has attention and serves as
    a teacher.

    A student learns from the teacher's probabilities (Hinton et al., arXiv:1503.02531): with sigmoids at temperature
    tau, loss = (1 - w) NLL(keys) + w tau^2 BCE(student / tau, teacher / tau).

    Args:
        input_size: features F.
        output_size: keys K.
        num_heads: attention heads of the backbone ``transformer``.
        channels: units of each key of the backbone ``pitch_tcn``, see ``pitch``; its other units are ``hidden_size``.
        reach: semitones to either side that a layer of ``pitch_tcn`` sees.
        pos_weight: weight of keys that sound, in training and ``loss``; 1 is the likelihood.
        top_k: k of the top-k accuracy.
        teacher: a run folder or checkpoint of another MelodyTransformer on the same inputs; None for none.
        distil_weight: w, the teacher's share of the loss, in [0, 1].
        temperature: tau.
        **kwargs: see ``SequenceModule``; ``backbone`` may also be ``transformer`` or ``pitch_tcn``.
    """

    architecture: ClassVar[frozenset[str]] = SequenceModule.architecture | {"num_heads", "channels", "reach"}
    hidden: ClassVar[Hidden] = (("relu", 256), ("lstm", 256), ("relu", 256))
    headline = "note_accuracy"
    likelihood = "keys"

    def __init__(
        self,
        input_size: int = 64,
        output_size: int = 128,
        num_heads: int = 4,
        channels: int = 16,
        reach: int = 12,
        pos_weight: float = 1.0,
        top_k: int = 5,
        teacher: str | None = None,
        distil_weight: float = 0.5,
        temperature: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if not 0 <= distil_weight <= 1 or temperature <= 0:
            raise ValueError(f"distil_weight={distil_weight} in [0, 1], temperature={temperature} above 0.")
        self.register_buffer("threshold", torch.tensor(UNTUNED))
        self.threshold: Tensor
        self._teacher: list[MelodyTransformer] = []  # in a list, so that it is no part of this module
        if teacher is not None:
            self.likelihoods["teacher"] = Likelihood(keys=True)

    def make_network(self) -> nn.Module:
        """Two backbones more."""
        h = self.hparams
        if h["backbone"] == "pitch_tcn":
            self.normalizer = InputNormalizer(h["input_size"])  # one scale for all keys
            shape = ("input_size", "output_size", "hidden_size", "channels", "reach", "kernel_size", "num_layers")
            return pitch_stack(**{name: h[name] for name in (*shape, "dropout")})
        if h["backbone"] != "transformer":
            return super().make_network()
        names = ("input_size", "output_size", "hidden_size", "num_layers", "num_heads", "dropout")
        return CausalTransformer(**{name: h[name] for name in names})

    def last_activation(self) -> nn.Module:
        """Sigmoid."""
        return nn.Sigmoid()

    # ------------------------------------------------------------------ the teacher
    def setup(self, stage: str) -> None:
        """Load the teacher; a test can do without.

        Raises:
            FileNotFoundError: a fit does not find it.
            ValueError: it is no MelodyTransformer of these inputs and keys.
        """
        path = self.hparams["teacher"]
        if path is None or self._teacher:
            return
        try:
            teacher = load(path)
        except FileNotFoundError:
            if stage == "fit":
                raise
            rank_zero_warn(f"teacher={path} is not there: its row is left out.")
            del self.likelihoods["teacher"]
            return
        sizes = ("input_size", "output_size")
        if not isinstance(teacher, MelodyTransformer) or any(teacher.hparams[n] != self.hparams[n] for n in sizes):
            raise ValueError(f"teacher={path} is a {type(teacher).__name__} of other inputs or keys than this student.")
        self._teacher = [teacher.requires_grad_(False)]
        rank_zero_info(f"Teacher: {Path(path)}")

    @torch.no_grad()
    def teach(self, inputs: Tensor) -> Tensor | None:
        """The teacher's logits (B, T, K); None without one."""
        if not self._teacher:
            return None
        return self._teacher[0].to(self.device).run(inputs)[0].float()

    # ------------------------------------------------------------------ losses
    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """The likelihood, and what the teacher adds."""
        return {"keys": (2,), "distil": (2,)}

    def sums(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Nats, and the teacher's cross-entropy."""
        h = self.hparams
        keys = losses.keys_nll(logits, batch.targets, batch.mask, h["pos_weight"])
        taught = self.teach(batch.inputs) if self.training else None
        if taught is None:
            return {"keys": keys, "distil": torch.zeros_like(keys)}
        tau = h["temperature"]
        soft = losses.keys_nll(logits / tau, (taught / tau).sigmoid(), batch.mask)
        return {"keys": keys, "distil": soft * soft.new_tensor([tau**2, 1.0])}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Nats a frame; in training mixed with the teacher's, in evaluation alone, so that both can be compared."""
        keys = losses.mean(sums["keys"])
        if not (self._teacher and self.training):
            return {"keys": keys}
        share = self.hparams["distil_weight"]
        return {"keys": (1 - share) * keys, "distil": share * losses.mean(sums["distil"])}

    # ------------------------------------------------------------------ evaluation
    def metrics(self) -> dict[str, Metric]:
        """Keys found at the threshold, and by rank."""
        return {"notes": KeyDetection(self.hparams["top_k"])}

    def headline_sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sounding keys that are ranked among as many as sound in their frame."""
        sounds = (batch.targets > 0.5) & batch.mask
        count = sounds.sum(dim=-1, keepdim=True)
        ranked = outputs.masked_fill(~batch.mask, -torch.inf).topk(max(1, int(count.max())), dim=-1).indices
        rank = torch.arange(ranked.shape[-1], device=ranked.device)
        found = sounds.gather(-1, ranked) & (rank < count)
        return torch.stack([found.sum(), count.sum()]).float()

    def judge(self, scores: Any, prediction: Tensor, batch: Batch) -> None:
        """Probabilities."""
        scores["notes"].update(prediction, batch.targets, batch.mask)

    def row_logits(self, row: str, logits: Tensor, batch: Batch) -> Tensor:
        """One more row: the teacher."""
        taught = self.teach(batch.inputs) if row == "teacher" else None
        return super().row_logits(row, logits, batch) if taught is None else taught

    def results(self) -> dict[str, Tensor]:
        """With the threshold that is best in validation during a fit, and stays what it is from then on.

        The baselines take whichever suits them best.
        """
        tuned = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        self.evaluation.scores(MODEL)["notes"].threshold = None if tuned else float(self.threshold)
        found = super().results()
        if tuned:
            self.threshold.fill_(found["threshold"].item())
        return found

    def export_thresholds(self) -> dict[str, float]:
        """Where a probability counts as a key, as tuned in validation."""
        return {"key": float(self.threshold)}

    # ------------------------------------------------------------------ making music
    @torch.no_grad()
    def generate(
        self,
        prompt: Tensor,
        num_frames: int,
        temperature: float = 1.0,
        threshold: float | None = None,
        polyphony: int | None = None,
        encode: Encoder | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Continue rolls.

        Args:
            prompt: keys that sound (B, T, K) or (T, K), 0 or 1, T at least 1.
            num_frames: frames to append.
            temperature: below 1 surer, above 1 wilder; 0 takes every key from ``threshold`` on.
            threshold: of probability, for ``temperature`` 0; None takes the one tuned in validation.
            polyphony: at most so many keys a frame, 1 for a melody; None for any number.
            encode: raw features (B, F) of the last frame of a roll (B, t, K); None where the inputs are the keys.
            seed: of the draw.

        Returns:
            Rolls (B, T + num_frames, K) bool that begin with the prompt.

        Raises:
            ValueError: the prompt is empty or has other keys, or the inputs are not the keys and ``encode`` is None.
        """
        h = self.hparams
        rolls = (prompt if prompt.dim() == 3 else prompt[None]).to(self.device).bool()
        if rolls.shape[1] < 1 or rolls.shape[2] != h["output_size"] or num_frames < 0 or temperature < 0:
            raise ValueError(
                f"generate(prompt {tuple(prompt.shape)}, num_frames={num_frames}, temperature={temperature}): give one "
                f"frame or more of {h['output_size']} keys, and numbers of at least 0."
            )
        if encode is None and h["input_size"] != h["output_size"]:
            raise ValueError(
                f"generate: the {h['input_size']} inputs of this model are not its {h['output_size']} keys: give "
                "encode, which makes the features of a frame from the roll so far."
            )
        cut = float(self.threshold) if threshold is None else threshold
        choose = Choice(temperature, cut, polyphony, generator(h["seed"], seed))
        with evaluating(self):
            return continue_roll(self.run, encode or (lambda so_far: so_far[:, -1].float()), choose, rolls, num_frames)
