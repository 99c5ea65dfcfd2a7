"""Muon for the matrices of layers and AdamW for all else, as one optimiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

WITH_MATRICES = (nn.Linear, nn.MultiheadAttention, nn.RNNBase)
"""Layers whose two-dimensional parameters map features to features; embeddings are tables, not maps."""


def matrices(module: nn.Module) -> list[nn.Parameter]:
    """The trainable weight matrices of the layers of a network, each once."""
    layers = [layer for layer in module.modules() if isinstance(layer, WITH_MATRICES)]
    found = [p for layer in layers for p in layer.parameters(recurse=False) if p.ndim == 2 and p.requires_grad]
    return list(dict.fromkeys(found))


class MuonWithAdamW(Optimizer):
    """Orthogonalised momentum for matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    The step of a matrix has singular values near 1 and, by a factor of 0.2 sqrt(max(rows, columns)), the size of a step
    of AdamW, so that one learning rate and one decay serve both (Liu et al., arXiv:2502.16982, section 2.2).
    Schedules, clipping and checkpoints see one optimiser with the groups of both.

    Args:
        hidden: the matrices.
        others: groups of all other parameters, each with its ``weight_decay``.
        lr: peak learning rate.
        weight_decay: decoupled decay of the matrices.
        betas: AdamW's decay rates of the two moments.
        fused: AdamW's fused kernel.
    """

    def __init__(
        self,
        hidden: list[nn.Parameter],
        others: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
        fused: bool,
    ) -> None:
        muon = Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.parts: tuple[Optimizer, ...] = (muon, AdamW(others, lr=lr, betas=betas, fused=fused))
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step both; what ``closure`` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a restored state."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Both parts work on the state and the groups of the whole."""
        groups = iter(self.param_groups)
        for part in self.parts:
            own = [next(groups) for _ in part.param_groups]
            part.__setstate__({"state": self.state, "param_groups": own})
