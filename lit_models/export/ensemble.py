"""Deep ensemble (Lakshminarayanan et al., arXiv:1612.01474): the mean of several models, as one network."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .block_diagonal import Chain, EnsembleError, block_diagonal
from .block_diagonal import Of as Of


class Ensemble(nn.Module):
    """Members side by side as one network, with the calls of ``midi.stack.LayerStack``.

    Args:
        members: modules with ``run``, ``network``, ``activation``, ``export_layers`` and ``export_normaliser``.
        of: what the mean is taken of: the ``outputs``, or the ``logits`` before the last activation.

    Attributes:
        alike: all members normalise alike, and frames arrive normalised; else each normalises raw frames for itself.
    """

    def __init__(self, members: Sequence[Any], of: Of) -> None:
        super().__init__()
        self.members: Any = nn.ModuleList(members)
        self.of: Of = of
        first, *others = (torch.stack(member.export_normaliser()) for member in members)
        self.alike = all(torch.equal(first, other) for other in others)

    def forward(self, x: Tensor, state: Any = None, valid: Tensor | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Run over frames (B, T, F): logits of the mean (B, T, K), and a state a member."""
        states = (None,) * len(self.members) if state is None else state
        runs = [member.network if self.alike else member.run for member in self.members]
        each = [run(x, past, valid) for run, past in zip(runs, states, strict=True)]
        logits = torch.stack([logits for logits, _ in each])  # (M, B, T, K)
        return mean_logits(logits, self.members[0].activation, self.of), tuple(after for _, after in each)

    def chain(self, last: nn.Module) -> Chain:
        """One chain that computes the mean, ``last`` included.

        Raises:
            EnsembleError: there is none; says why.
        """
        normalisers = None if self.alike else [member.export_normaliser() for member in self.members]
        return block_diagonal([member.export_layers() for member in self.members], self.of, normalisers)


def averaged(members: Sequence[Any], of: Of) -> Any:
    """A module like the first member, in evaluation mode, whose network is the ensemble of copies of all.

    A threshold of the module is the mean of theirs.
    """
    together = copy.deepcopy(members[0])
    together.network = Ensemble([copy.deepcopy(member) for member in members], of)
    if not together.network.alike:
        together.normalizer.mean.zero_()
        together.normalizer.std.fill_(1.0)
    if hasattr(together, "threshold"):
        together.threshold = torch.stack([member.threshold for member in members]).mean()
    return together.eval()


def mean_logits(logits: Tensor, activation: nn.Module, of: Of) -> Tensor:
    """Logits whose activation is the mean that is asked for.

    Args:
        logits: of M members (M, ..., K).
        activation: Softmax (over the last dimension), Sigmoid, Tanh or Identity.
        of: ``logits``, or the ``outputs`` behind the activation.

    Returns:
        (..., K).

    Raises:
        EnsembleError: the mean of the outputs of another activation is asked for.
    """
    if of == "logits" or isinstance(activation, nn.Identity):
        return logits.mean(dim=0)
    if isinstance(activation, nn.Softmax):
        return _log_mean(logits.log_softmax(dim=-1))
    if isinstance(activation, nn.Sigmoid):
        return _log_mean(F.logsigmoid(logits)) - _log_mean(F.logsigmoid(-logits))
    if isinstance(activation, nn.Tanh):  # tanh z = 2 sigmoid 2z - 1
        return mean_logits(2 * logits, nn.Sigmoid(), of) / 2
    raise EnsembleError(
        f"The mean of outputs behind {type(activation).__name__} is unknown here: take that of the logits."
    )


def _log_mean(log_p: Tensor) -> Tensor:
    return log_p.logsumexp(dim=0) - torch.tensor(len(log_p), dtype=log_p.dtype, device=log_p.device).log()
