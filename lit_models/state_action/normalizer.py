"""From physical units to what the network sees, and back."""

from typing import Any

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from ..core.normalizer import Standardizer, Statistics
from .layout import StateLayout


class Normalizer(nn.Module):
    """Standardised columns; with ``emphasis``, random mixtures of the state's columns in front of them.

    The mixtures are the emphasis projection x -> [A B; 1] x of Guided Motion Diffusion (Karunratanakul et al.,
    arXiv:2305.12577, section 4.1) in the form of Diffuse-CLoC (arXiv:2503.11801): A is standard normal, B is diagonal
    with ``emphasis`` on the columns in the character frame and 1 elsewhere, and A B is scaled to unit variance for
    independent columns. A few columns of the root, which costs steer, so reach every mixture. The way back is the
    pseudo-inverse.

    Statistics and A are buffers and lie in the checkpoint; the network's state has ``state_size`` columns.

    Args:
        layout: of states and actions.
        emphasis: the factor c > 1; None or 0 for no mixtures.
        mixtures: how many, E; None takes one for each column of a state, as in the first paper.
        statistics: as ``fit`` takes them; None for later.
        seed: of A.

    Raises:
        ValueError: an emphasis of at most 1, mixtures without emphasis, or a layout with nothing to emphasise.
    """

    mixing: Tensor

    def __init__(
        self,
        layout: StateLayout,
        emphasis: float | None = None,
        mixtures: int | None = None,
        statistics: Statistics | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.states = Standardizer(layout.state_size, names=layout.state_names, prefix="state_")
        self.actions = Standardizer(layout.action_size, names=layout.action_names, prefix="action_")
        if not emphasis and mixtures:
            raise ArgumentError(
                f"mixtures={mixtures} without emphasis: set emphasis above 1, 6 say, or mixtures to null."
            )
        if emphasis and emphasis <= 1:
            raise ArgumentError(f"emphasis={emphasis}: above 1, or null for no emphasis.")
        if emphasis and not layout.global_columns:
            raise ArgumentError(
                f"emphasis={emphasis}: no columns of the state are in the character frame; set it to null."
            )
        if mixtures is not None and mixtures < 0:
            raise ArgumentError(f"mixtures={mixtures}: at least 0.")
        rows = (layout.state_size if mixtures is None else mixtures) if emphasis else 0
        self.emphasis = emphasis
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("mixing", torch.randn((rows, layout.state_size), generator=generator))
        self._maps: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}
        self._bounds: dict[tuple[torch.dtype, torch.device], list[tuple[Tensor, Tensor]]] = {}
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        if statistics is not None:
            self.fit(**statistics)

    @property
    def state_size(self) -> int:
        """Columns of a state as the network sees it: E + S."""
        return len(self.mixing) + self.layout.state_size

    @property
    def action_size(self) -> int:
        """Columns A of an action."""
        return self.layout.action_size

    @property
    def fitted(self) -> bool:
        """Whether there are statistics."""
        return self.states.fitted and self.actions.fitted

    def fit(self, state_mean: Any, state_std: Any, action_mean: Any, action_std: Any) -> None:
        """Take statistics of the training data.

        Args:
            state_mean: (S,), a tensor or a sequence, as all of these.
            state_std: (S,) > 0.
            action_mean: (A,).
            action_std: (A,) > 0.

        Raises:
            ValueError: a wrong length, a number that is not finite, or a column that does not vary; names the columns.
        """
        self.states.fit(state_mean, state_std)
        self.actions.fit(action_mean, action_std)
        self._bounds.clear()

    def normalise(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """From physical units to streams.

        Args:
            states: (..., S).
            actions: (..., A).

        Returns:
            States (..., E + S) and actions (..., A), of zero mean and unit variance on the training data.

        Raises:
            RuntimeError: there are no statistics yet.
        """
        self._require_statistics()
        return self._mixed(self.states(states)), self.actions(actions)

    def physical(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """From streams to physical units, differentiable.

        Args:
            streams: states (..., E + S) and actions (..., A).

        Returns:
            States (..., S) and actions (..., A).

        Raises:
            RuntimeError: there are no statistics yet.
        """
        self._require_statistics()
        return self.states.physical(self._plain(streams[0])), self.actions.physical(streams[1])

    def within_limits(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Streams whose joints, in states and in actions that are joint positions, lie within their limits.

        Mixtures then tell of the same states as the columns behind them.
        """
        if not self.layout.joint_limits:
            return streams
        self._require_statistics()
        (low, high), (acted_low, acted_high) = self._bounds_of(streams[0])
        states = self._mixed(self._plain(streams[0]).clamp(low, high))
        return states, streams[1].clamp(acted_low, acted_high)

    def _mixed(self, states: Tensor) -> Tensor:
        """Standardised columns (..., S), with their mixtures in front (..., E + S)."""
        if not len(self.mixing):
            return states
        with torch.autocast(states.device.type, enabled=False):
            return torch.cat([states @ self._maps_of(states)[0].T, states], dim=-1)

    def _plain(self, states: Tensor) -> Tensor:
        """The way back, by the pseudo-inverse."""
        if not len(self.mixing):
            return states
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(torch.promote_types(states.dtype, torch.float32))
            mixed, gain = self._maps_of(states)
            mixtures, states = states[..., : len(mixed)], states[..., len(mixed) :]
            return states + (mixtures - states @ mixed.T) @ gain.T  # small numbers: they round better than x

    def _bounds_of(self, states: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Smallest and largest standardised value of each column of a state (S,) and of an action (A,), kept."""
        key = states.dtype, states.device
        if key not in self._bounds:
            layout, found = self.layout, []
            with torch.inference_mode(False), torch.no_grad():
                for limit, infinite in zip(
                    zip(*layout.joint_limits, strict=True), (-torch.inf, torch.inf), strict=True
                ):
                    angles = self.mixing.new_tensor(limit)
                    columns = self.mixing.new_full((layout.state_size,), infinite)
                    if "joint_pos" in layout:
                        columns[layout.slice("joint_pos")] = angles
                    acted = (
                        angles if layout.action_is_joint_position else angles.new_full((layout.action_size,), infinite)
                    )
                    found.append((self.states(columns).to(states), self.actions(acted).to(states)))
            (low, acted_low), (high, acted_high) = found
            self._bounds[key] = [(low, high), (acted_low, acted_high)]
        return self._bounds[key]

    def _require_statistics(self) -> None:
        if not self.fitted:
            raise RuntimeError(
                "the normaliser has no statistics: call fit with those of the training data, or load a checkpoint."
            )

    def _maps_of(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """M = A B, scaled (E, S), and G = M^T (1 + M M^T)^-1 (S, E), worked out once in float64.

        The pseudo-inverse of [M; 1] takes (u, x) to x + G (u - M x).
        """
        key = states.dtype, states.device
        if key not in self._maps:
            with torch.inference_mode(False), torch.no_grad():  # kept: training may be the next to use it
                factors = torch.ones(self.layout.state_size, dtype=torch.float64)
                factors[self.layout.global_columns] = float(self.emphasis or 1)
                mixed = self.mixing.detach().cpu().double() * factors / factors.square().sum().sqrt()
                inner = torch.eye(len(mixed), dtype=torch.float64) + mixed @ mixed.T
                self._maps[key] = mixed.to(states), torch.linalg.solve(inner, mixed).T.to(states)
        return self._maps[key]


def _forget(module: nn.Module, _: object) -> None:
    """What was worked out from the buffers before others were loaded."""
    if isinstance(module, Normalizer):
        module._maps.clear()
        module._bounds.clear()
