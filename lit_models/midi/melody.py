"""Next-frame key prediction (MelodyTransformer): polyphonic or melodic, with distillation from a teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError
from litmotif.seeding import generator

from ..core.checkpoint import load
from ..core.evaluation import MODEL
from ..core.modes import evaluating
from ..core.normalizer import Standardizer
from .evaluation import Score
from .generated import MadeMelodies
from .generation import Choice, Encoder, continue_roll
from .losses import Term, keys_nll, mean
from .metrics import KeyDetection, Likelihood, found_keys
from .module import SequenceModule
from .network import Hidden, MelodyNetwork
from .pitch import pitch_stack
from .transformer import CausalTransformer

UNTUNED = 0.5


@dataclass(frozen=True)
class Objective:
    """Likelihood of keys.

    Attributes:
        pos_weight: weight of keys that sound, in training and ``loss``; 1 is the likelihood.
    """

    pos_weight: float = 1.0


@dataclass(frozen=True)
class Distillation:
    """What a student learns from its teacher.

    Attributes:
        teacher: a run folder or checkpoint of another MelodyTransformer on the same inputs; None for none.
        weight: w, the teacher's share of the loss, in [0, 1].
        temperature: tau.

    Raises:
        ValueError: a number out of its range.
    """

    teacher: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or self.temperature <= 0:
            raise ArgumentError(
                f"distil.weight={self.weight} in [0, 1], distil.temperature={self.temperature} above 0."
            )


class MelodyTransformer(SequenceModule):
    """64 features, or the keys of a frame -> the probability of each key in the next frame.

    On the task ``melody`` the outputs are the things of which one happens in a frame: a rest, a note that begins on one
    of 126 keys, the note before that goes on. A test makes melodies from the beginnings of test songs, and puts how
    often they rest, how long their notes are, how often they repeat one and keep to the key beside the songs' own.

    The loss is the negative log-likelihood of independent keys given the past, summed over keys: the benchmark of
    Boulanger-Lewandowski et al. (arXiv:1206.6392) and Bai et al. (arXiv:1803.01271). The name is the requirement's; its
    layers are dense and LSTM, which is what makes it exportable. ``backbone="transformer"`` has attention and serves as
    a teacher.

    A student learns from the teacher's probabilities (Hinton et al., arXiv:1503.02531): with sigmoids at temperature
    tau, loss = (1 - w) NLL(keys) + w tau^2 BCE(student / tau, teacher / tau).

    Args:
        input_size: features F.
        output_size: keys K.
        network: its layers.
        objective: likelihood of keys.
        distil: what it learns from a teacher.
        top_k: k of the top-k accuracy.
        made: test songs that a test goes on with, of the task ``melody``; 0 for none.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("relu", 256), ("lstm", 256), ("relu", 256))
    last = nn.Sigmoid
    terms: ClassVar = {"keys": Term("keys")}
    scores: ClassVar = {"notes": Score(lambda h: KeyDetection(h["top_k"]), headline=found_keys)}
    probabilities = "keys"
    headline = "note_accuracy"

    def __init__(
        self,
        input_size: int = 64,
        output_size: int = 128,
        network: MelodyNetwork = MelodyNetwork(),
        objective: Objective = Objective(),
        distil: Distillation = Distillation(),
        top_k: int = 5,
        made: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        self.distil = self.group(Distillation)
        self.register_buffer("threshold", torch.tensor(UNTUNED))
        self.threshold: Tensor
        self._teacher: list[MelodyTransformer] = []  # in a list, so that it is no part of this module
        if self.distil.teacher is not None:
            self.evaluation.kinds["likelihood"]["teacher"] = Likelihood(keys=True)
        columns = set(self.hparams["outputs"])
        self.melodies = MadeMelodies(self.hparams["outputs"]) if {"rest", "hold"} <= columns else None
        """Where one of the outputs happens in every frame."""

    def make_network(self) -> nn.Module:
        """Two backbones more."""
        sizes, network = (self.hparams["input_size"], self.hparams["output_size"]), self.group(MelodyNetwork)
        if network.backbone == "pitch_tcn":
            one = {"mean": [0.0] * sizes[0], "std": [1.0] * sizes[0]}
            self.normalizer = Standardizer(sizes[0], one)  # one scale for all keys
            return pitch_stack(*sizes, network)
        return CausalTransformer(*sizes, network) if network.backbone == "transformer" else super().make_network()

    # ------------------------------------------------------------------ the teacher
    def setup(self, stage: str) -> None:
        """Load the teacher; a test can do without.

        Raises:
            FileNotFoundError: a fit does not find it.
            ValueError: it is no MelodyTransformer of these inputs and keys.
        """
        path = self.distil.teacher
        if path is None or self._teacher:
            return
        try:
            teacher = load(path)
        except FileNotFoundError:
            if stage == "fit":
                raise
            rank_zero_warn(f"teacher={path} is not there: its row is left out.")
            del self.evaluation.kinds["likelihood"]["teacher"]
            return
        sizes = ("input_size", "output_size")
        if not isinstance(teacher, MelodyTransformer) or any(teacher.hparams[n] != self.hparams[n] for n in sizes):
            raise ArgumentError(
                f"teacher={path} is a {type(teacher).__name__} of other inputs or keys than this student."
            )
        self._teacher = [teacher.requires_grad_(False)]
        rank_zero_info(f"Teacher: {Path(path)}")

    @torch.no_grad()
    def teach(self, inputs: Tensor) -> Tensor | None:
        """The teacher's logits (B, T, K); None without one."""
        if not self._teacher:
            return None
        return self._teacher[0].to(self.device).run(inputs)[0].float()

    # ------------------------------------------------------------------ losses and evaluation
    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Nats, and the teacher's cross-entropy."""
        found, taught = super().sums(logits, batch), self.teach(batch.inputs) if self.training else None
        if taught is None:
            return found
        tau = self.distil.temperature
        soft = keys_nll(logits / tau, (taught / tau).sigmoid(), batch.mask)
        return found | {"distil": soft * soft.new_tensor([tau**2, 1.0])}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Nats a frame; in training mixed with the teacher's, in evaluation alone, so that both can be compared."""
        terms = super().losses(sums)
        if "distil" not in sums:
            return terms
        share = self.distil.weight
        return {"keys": (1 - share) * terms["keys"], "distil": share * mean(sums["distil"])}

    def reference_logits(self, row: str, batch: MusicBatch) -> Tensor:
        """Logits of the teacher (B, T, K)."""
        taught = self.teach(batch.inputs)
        assert taught is not None  # noqa: S101  # ``setup`` has left the row out where there is none
        return taught

    def results(self, split: str) -> dict[str, Tensor]:
        """With the threshold that is best in validation during a fit, and stays what it is from then on.

        The baselines take whichever suits them best.
        """
        tuned = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        self.evaluation.kinds["notes"][MODEL].threshold = None if tuned else float(self.threshold)
        found = super().results(split)
        if self.trainer.testing and self.melodies and self.hparams["made"]:
            found |= self.melodies.judge(self, self.trainer, self.hparams["made"])
        if tuned:
            self.threshold.fill_(found["threshold"].item())
        return found

    def export_thresholds(self) -> dict[str, float]:
        """Threshold of probability from which a key counts, as tuned in validation."""
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
            prompt: keys that sound, or events of a melody, (B, T, K) or (T, K), 0 or 1, T at least 1.
            num_frames: frames to append.
            temperature: below 1 surer, above 1 wilder; 0 takes the likeliest of a melody, else every key from
                ``threshold`` on. See ``Choice``.
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
            raise ArgumentError(
                f"generate(prompt {tuple(prompt.shape)}, num_frames={num_frames}, temperature={temperature}): give one "
                f"frame or more of {h['output_size']} keys, and numbers of at least 0."
            )
        if encode is None and h["input_size"] != h["output_size"]:
            raise ArgumentError(
                f"generate: the {h['input_size']} inputs of this model are not its {h['output_size']} keys: give "
                "encode, which makes the features of a frame from the roll so far."
            )
        cut = float(self.threshold) if threshold is None else threshold
        choose = Choice(
            temperature, cut, polyphony, generator(h["seed"], seed), self.melodies.keys if self.melodies else None
        )
        with evaluating(self):
            return continue_roll(self.run, encode or (lambda so_far: so_far[:, -1].float()), choose, rolls, num_frames)
