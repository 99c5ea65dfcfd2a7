"""What the five models share: a chain of layers over frames, masked losses, metrics beside their baselines."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..core.module import BaseModule
from . import baselines
from .batch import Batch
from .evaluation import MODEL, Evaluation, Sums
from .losses import mean
from .metrics import Likelihood
from .network import Backbone, Hidden, InputNormalizer, make_stack
from .stack import LayerStack, State

EPSILON = 1e-6
"""Least probability of the constant baseline."""
RARE = 1e-3
"""Least probability of an output before training: what never sounded in training may sound yet."""


class SequenceModule(BaseModule):
    """A causal network from raw features to K outputs a frame.

    A subclass names its layers and its last activation, the sums that its losses are made of, and its metrics.

    Args:
        input_size: features F, from the data.
        output_size: targets K, from the data.
        input_mean: of each feature in training, from the data; None for 0.
        input_std: of each feature in training, from the data; None for 1.
        target_mean: of each target in training, from the data: the constant baseline; None for 0.
        features: names of the inputs, from the data.
        outputs: names of the targets, from the data.
        backbone: ``requirement`` has the sizes of the class; ``gru``, ``tcn``, ``residual_tcn`` and ``mlp`` those given
            here.
        hidden_size: width of a backbone that is not ``requirement``.
        num_layers: of a backbone that is not ``requirement``.
        kernel_size: taps of the convolutions.
        dropout: rate behind each hidden layer, in training.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    architecture: ClassVar[frozenset[str]] = frozenset(
        {"input_size", "output_size", "backbone", "hidden_size", "num_layers", "kernel_size"}
    )
    hidden: ClassVar[Hidden]
    """Hidden layers of the backbone ``requirement``."""
    likelihood: ClassVar[Literal["keys", "classes"] | None] = None
    """What the outputs are probabilities of."""
    reference_rows: ClassVar[tuple[str, ...]] = ("constant", "chance", "copy")
    """Baselines that stand beside the metrics."""
    headline: ClassVar[str] = ""
    """The metric that is told of training too, and fills ``train_metric`` and ``val_metric`` of the history."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        input_mean: Sequence[float] | None = None,
        input_std: Sequence[float] | None = None,
        target_mean: Sequence[float] | None = None,
        features: Sequence[str] = (),
        outputs: Sequence[str] = (),
        backbone: str = "requirement",
        hidden_size: int = 128,
        num_layers: int = 1,
        kernel_size: int = 3,
        dropout: float = 0.0,
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
                raise ValueError(f"{name} has {len(given)} entries for {size} columns.")
        self.normalizer = InputNormalizer(input_size, input_mean, input_std)
        self.network = self.make_network()
        self.activation: nn.Module = self.last_activation()
        self.register_buffer("target_mean", torch.tensor(mean, dtype=torch.float32))
        self.target_mean: Tensor
        if self.likelihood and target_mean is not None and isinstance(self.network, LayerStack):
            self._begin_at_the_constant(self.network)
        self.evaluation = Evaluation(self.metrics, self.reference_rows)
        self.loss_sums = Sums(self.loss_shapes())
        rows = (MODEL, "constant", "chance") if self.likelihood else ()
        keys = self.likelihood == "keys"
        self.likelihoods: Any = nn.ModuleDict({row: Likelihood(keys) for row in rows})

    # ------------------------------------------------------------------ what a subclass says
    @abstractmethod
    def last_activation(self) -> nn.Module:
        """From the network's numbers to outputs."""

    @abstractmethod
    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``sums``."""

    @abstractmethod
    def sums(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What adds up over batches and makes the losses.

        Args:
            logits: before the last activation (B, T, K).
            batch: with the targets.
        """

    @abstractmethod
    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of the loss by name, from sums over all that they are a mean of."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """New metrics by name."""

    def headline_sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum and count (2,), as ``losses.ratio`` has them, whose ratio is ``headline``; outputs (B, T, K)."""
        raise NotImplementedError(f"{type(self).__name__} has a headline, {self.headline}, and no sums of it.")

    @abstractmethod
    def judge(self, scores: Any, prediction: Tensor, batch: Batch) -> None:
        """Show predictions (B, T, K), in the units of the targets, to the metrics."""

    # ------------------------------------------------------------------ the network
    def make_network(self) -> nn.Module:
        """The backbone that the hyper-parameters name."""
        h = self.hparams
        names = ("input_size", "output_size", "hidden_size", "num_layers", "kernel_size", "dropout")
        backbone: Backbone = h["backbone"]
        return make_stack(backbone, self.hidden, **{name: h[name] for name in names})

    def _begin_at_the_constant(self, network: LayerStack) -> None:
        """Let the first guess be the constant baseline, so that training need not find it."""
        last: Any = network.layers[-1]  # every backbone ends in a layer with a bias an output
        with torch.no_grad():
            last.bias.copy_(self.constant_logits(RARE))

    def constant_logits(self, least: float) -> Tensor:
        """Logits (K,) of the mean target, its probabilities no less than ``least``."""
        share = self.target_mean.clamp(least, 1 - least)
        return share.logit() if self.likelihood == "keys" else share.log()

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
        if not isinstance(self.network, LayerStack):
            raise UnexportableError(
                f"{type(self).__name__}.network is a {type(self.network).__name__}, whose attention no RTNeural file "
                "can hold. Train an exportable backbone (requirement, gru, tcn, residual_tcn) on what it has learned: "
                "litmotif fit -c midi/melody_distil --model.teacher RUN."
            )
        return [*self.network.chain(), self.activation]

    def export_normaliser(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) that turn a raw frame into the chain's input (x - mean) / std."""
        return self.normalizer.mean.clone(), self.normalizer.std.clone()

    # ------------------------------------------------------------------ training
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted losses of the global batch: means over what the masks of all processes leave."""
        logits, _ = self.run(batch.inputs, valid=baselines.valid_frames(batch.mask))
        sums = self.sums(logits.float(), batch)
        if self.headline:
            with torch.no_grad():
                sums["headline"] = self.headline_sums(self.activation(logits.detach().float()), batch)
        world = self.trainer.world_size
        if world > 1:
            sums = {name: self.all_gather(value, sync_grads=True).sum(dim=0) for name, value in sums.items()}  # type: ignore[union-attr]
        rows = len(batch.inputs) * world
        losses = self._with_total(self.losses(sums))
        found = losses | ({self.headline: mean(sums["headline"])} if self.headline else {})
        self.log_means({f"train/{name}": value for name, value in found.items()}, rows)
        return losses["loss"]

    def _with_total(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        total = torch.stack([term.float() for term in terms.values()]).sum()
        named = {f"loss_{name}": term.float() for name, term in terms.items()} if len(terms) > 1 else {}
        return {"loss": total} | named

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Judge a batch of whole songs."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same."""
        self._evaluate(batch)

    def _rows(self, of: Any) -> list[str]:
        """The model alone during a fit: the baselines do not change from epoch to epoch."""
        return [row for row in of if row == MODEL or self.trainer.state.fn != "fit"]

    def _evaluate(self, batch: Batch) -> None:
        logits = self.run(batch.inputs)[0].float()
        self.loss_sums.update(self.sums(logits, batch))
        predictions = self.predictions(self.activation(logits), batch)
        for row in self._rows(self.evaluation.rows):
            self.judge(self.evaluation.scores(row), predictions[row](), batch)
        for row in self._rows(self.likelihoods):
            self.likelihoods[row].update(self.row_logits(row, logits, batch), batch.targets, batch.mask)

    def predictions(self, outputs: Tensor, batch: Batch) -> dict[str, Any]:
        """A function a row that gives its predictions (B, T, K)."""
        targets, mask, seed = batch.targets, batch.mask, self.hparams["seed"]
        return {
            MODEL: lambda: outputs,
            "constant": lambda: baselines.constant(self.target_mean, targets),
            "chance": lambda: baselines.shuffled(targets, mask, batch.song, seed),
            "copy": lambda: baselines.copy(targets, mask, self.target_mean),
        }

    def row_logits(self, row: str, logits: Tensor, batch: Batch) -> Tensor:
        """What a row of the likelihoods holds probable (B, T, K); chance is uniform over what the mask leaves."""
        if row == "chance":
            return torch.zeros_like(logits).masked_fill(~batch.mask, -torch.inf if self.likelihood == "classes" else 0)
        if row == "constant":
            return self.constant_logits(EPSILON).expand_as(logits)
        return logits

    def on_validation_epoch_end(self) -> None:
        """Log everything."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """The same."""
        self._log_evaluation("test")

    def results(self) -> dict[str, Tensor]:
        """All that is logged of a split, by name."""
        found = self._with_total(self.losses(self.loss_sums.compute()))
        found |= self.evaluation.compute(self._rows(self.evaluation.rows))
        for row in self._rows(self.likelihoods):
            told: dict[str, Tensor] = self.likelihoods[row].compute()
            found |= {name if row == MODEL else f"{name}/{row}": value for name, value in told.items()}
        return found

    def _log_evaluation(self, split: str) -> None:
        for name, value in self.results().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "loss")
        parts: list[Any] = [self.loss_sums, self.evaluation, *self.likelihoods.values()]
        for part in parts:
            part.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Outputs (B, T, K) for the inputs of a batch."""
        return self(batch.inputs)  # type: ignore[no-any-return]


class UnexportableError(TypeError):
    """A network that no RTNeural file can hold; the message names it and says what to do."""
