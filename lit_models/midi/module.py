"""Causal sequence model: a chain of layers over frames, masked losses, metrics beside their baselines."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError, LitmotifError

from ..core.evaluation import EvaluatedModule
from ..core.normalizer import Standardizer
from . import baselines
from .evaluation import Evaluation, Probabilities, Score, headline_sums, pooled
from .losses import Term, mean, valid_frames, with_total
from .network import Hidden, Network, make_stack
from .stack import LayerStack, State

RARE = 1e-3
"""Least probability of an output before training: what never sounded in training may sound yet."""


class SequenceModule(EvaluatedModule):
    """A causal network from raw features to K outputs a frame.

    A subclass is a table: its layers and last activation, the terms of its loss, its metrics and its baselines.

    Args:
        input_size: features F, from the data.
        output_size: targets K, from the data.
        input_mean: of each feature in training, from the data; None for 0.
        input_std: of each feature in training, from the data; None for 1.
        target_mean: of each target in training, from the data: the constant baseline; None for 0.
        features: names of the inputs, from the data.
        outputs: names of the targets, from the data.
        network: its layers.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    architecture: ClassVar[frozenset[str]] = frozenset({"input_size", "output_size", "network"})
    batch: ClassVar = MusicBatch
    hidden: ClassVar[Hidden]
    """Hidden layers of the backbone ``requirement``."""
    last: ClassVar[type[nn.Module]]
    """The last activation."""
    terms: ClassVar[Mapping[str, Term]]
    """Of the loss, by name."""
    scores: ClassVar[Mapping[str, Score]]
    """Metrics by name."""
    rows: ClassVar[Mapping[str, baselines.Row]] = baselines.ROWS
    """Baselines that stand beside the metrics."""
    probabilities: ClassVar[Probabilities | None] = None
    """Events whose probabilities the outputs are; None for other outputs."""
    headline: ClassVar[str] = ""
    """The metric that is logged of training too, and fills ``train_metric`` and ``val_metric`` of the history."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        input_mean: Sequence[float] | None = None,
        input_std: Sequence[float] | None = None,
        target_mean: Sequence[float] | None = None,
        features: Sequence[str] = (),
        outputs: Sequence[str] = (),
        network: Network = Network(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        mean = [0.0] * output_size if target_mean is None else list(target_mean)
        for name, given, size in (
            ("target_mean", mean, output_size),
            ("outputs", outputs, output_size),
            ("features", features, input_size),
        ):
            if given and len(given) != size:
                raise ArgumentError(f"{name} has {len(given)} entries for {size} columns.")
        statistics = {
            "mean": [0.0] * input_size if input_mean is None else list(input_mean),
            "std": [1.0] * input_size if input_std is None else list(input_std),
        }
        self.normalizer = Standardizer(input_size, statistics, features or None, "input_", constants="centre")
        self.network = self.make_network()
        self.activation = self.last(dim=-1) if self.last is nn.Softmax else self.last()
        self.register_buffer("target_mean", torch.tensor(mean, dtype=torch.float32))
        self.target_mean: Tensor
        if self.probabilities and target_mean is not None and isinstance(self.network, LayerStack):
            bias: Any = self.network.layers[-1].bias  # begin at the constant, so that training need not find it
            with torch.no_grad():
                bias.copy_(baselines.constant_logits(self.target_mean, self.probabilities == "keys", RARE))
        self.evaluation = Evaluation(self)

    # ------------------------------------------------------------------ the network
    def make_network(self) -> nn.Module:
        """The backbone that the hyper-parameters name."""
        h = self.hparams
        return make_stack(self.group(Network), self.hidden, h["input_size"], h["output_size"])

    def run(self, inputs: Tensor, state: State | None = None, valid: Tensor | None = None) -> tuple[Tensor, State]:
        """Everything before the last activation: inputs (B, T, F) to (B, T, K), and the state after them."""
        logits, after = self.network(self.normalizer(inputs), state, valid)
        return logits, after

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (B, T, K) of raw features (B, T, F)."""
        return self.activation(self.run(inputs)[0])  # type: ignore[no-any-return]

    def step(self, frame: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One frame of a stream.

        Args:
            frame: raw features (B, F).
            state: what came out after the frame before; None before the first.

        Returns:
            Outputs (B, K), equal to those of the whole sequence, and the state.
        """
        logits, after = self.run(frame[:, None], state)
        return self.activation(logits[:, 0]), after

    def export_layers(self) -> list[nn.Module]:
        """The chain from a normalised frame to the outputs, one layer after another.

        Raises:
            UnexportableError: the network is no such chain.
        """
        chain = getattr(self.network, "chain", None)
        if chain is None:
            raise UnexportableError(
                f"{type(self).__name__}.network is a {type(self.network).__name__}, whose attention no RTNeural file "
                "can hold. Train an exportable backbone (requirement, gru, tcn, residual_tcn) on what it has learned: "
                "litmotif fit -c midi/melody_distil --model.distil.teacher RUN."
            )
        layers: list[nn.Module] = chain(self.activation)
        return layers

    def export_normaliser(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) that turn a raw frame into the chain's input (x - mean) / std."""
        return self.normalizer.mean.clone(), self.normalizer.std.clone()

    # ------------------------------------------------------------------ training
    def training_step(self, batch: MusicBatch, batch_idx: int) -> Tensor:
        """The weighted losses of the global batch: means over what the masks of all processes leave."""
        logits, _ = self.run(batch.inputs, valid=valid_frames(batch.mask))
        logits = logits.float()
        sums = self.sums(logits, batch)
        with torch.no_grad():
            sums["headline"] = headline_sums(self, self.activation(logits), batch)
        world = self.trainer.world_size
        if world > 1:
            sums = {name: self.all_gather(value, sync_grads=True).sum(dim=0) for name, value in sums.items()}  # type: ignore[union-attr]
        rows = len(batch.inputs) * world
        losses = with_total(self.losses(sums))
        found = losses | ({self.headline: mean(sums["headline"])} if self.headline else {})
        self.log_means({f"train/{name}": value for name, value in found.items()}, rows)
        return losses["loss"]

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Sums that add up over batches and make the losses, from logits (B, T, K)."""
        outputs = self.activation(logits)
        weights = self.hparams.get("objective", {})
        return {name: term.sums(logits, outputs, batch, weights) for name, term in self.terms.items()}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of the loss by name, from sums over all that they are a mean of."""
        weights = self.hparams.get("objective", {})
        return {name: term.loss(sums[name], weights) for name, term in self.terms.items()}

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: MusicBatch, batch_idx: int) -> None:
        """Judge a batch of whole songs."""
        self.evaluation.update(self, self.run(batch.inputs)[0].float(), batch, self.trainer.state.fn == "fit")

    test_step = validation_step

    def results(self, split: str) -> dict[str, Tensor]:
        """The losses, and the metrics beside the baselines; a fit leaves these out, which do not change in it."""
        losses = with_total(self.losses(self.evaluation.sums.compute()))
        found = losses | self.evaluation.compute()
        self.evaluation.reset()
        return found

    pooled = staticmethod(pooled)

    def predict_step(self, batch: MusicBatch, batch_idx: int) -> Tensor:
        """Outputs (B, T, K) for the inputs of a batch."""
        return self(batch.inputs)  # type: ignore[no-any-return]


class UnexportableError(LitmotifError, TypeError):
    """A network that no RTNeural file can hold; the message names it and says what to do."""
