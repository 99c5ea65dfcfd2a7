"""The denoiser of state-action trajectories: a transformer over state tokens and action tokens."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from ..layers.dit import TimeEmbedding
from ..layers.sizes import TransformerSizes

Attention = Literal["causal", "full"]


def attention_mask(length: int, attention: Attention) -> Tensor:
    """Who must not see whom: bool (2T, 2T), rows look at columns, states come first, then actions.

    ``causal`` is the mask of Diffuse-CLoC (arXiv:2503.11801, section 4.2): a state sees all states and no action; an
    action sees the states and the actions up to its own step. ``full`` hides nothing.

    Args:
        length: steps T.
        attention: which.

    Raises:
        ValueError: an unknown name.
    """
    if attention == "full":
        return torch.zeros(2 * length, 2 * length, dtype=torch.bool)
    if attention != "causal":
        raise ArgumentError(f"attention={attention!r}: choose 'causal' or 'full'.")
    later = torch.ones(length, length, dtype=torch.bool).triu(1)  # (T, T)
    no_states = torch.zeros(length, length, dtype=torch.bool)
    states = torch.cat([no_states, ~no_states], dim=1)  # (T, 2T)
    return torch.cat([states, torch.cat([later, later], dim=1)])  # (2T, 2T)


@dataclass(frozen=True)
class Network(TransformerSizes):
    """Sizes of ``StateActionTransformer``.

    Attributes:
        attention: ``causal``: actions see the past alone, states see no action; ``full``: all see all.

    Raises:
        ValueError: the heads do not divide the width.
    """

    attention: Attention = "causal"

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ArgumentError(f"hidden_size={self.hidden_size} does not divide by num_heads={self.num_heads}.")


class LevelEmbedding(nn.Module):
    """The embedding of each noise level, as a table: K + 1 rows are fewer than the tokens of a batch.

    Args:
        num_train_timesteps: largest level K.
        hidden_size: width D.
    """

    def __init__(self, num_train_timesteps: int, hidden_size: int) -> None:
        super().__init__()
        self.embed = TimeEmbedding(hidden_size)
        self.register_buffer("share", torch.linspace(0, 1, num_train_timesteps + 1), persistent=False)
        self.share: Tensor

    def forward(self) -> Tensor:
        """All levels: (K + 1, D)."""
        return self.embed(self.share)  # type: ignore[no-any-return]


class StateActionTransformer(nn.Module):
    """States and actions as separate tokens, each told its own noise level (Diffuse-CLoC, arXiv:2503.11801).

    A state enters by a two-layer perceptron and an action by one linear map, both beside the embedding of their level;
    a product with two factors side by side is a sum of two products, so the levels' part is a table. Positions are
    learned, one set for each stream. The blocks are PyTorch's pre-norm encoder layers.

    Args:
        state_size: columns S of a state.
        action_size: columns A of an action.
        length: steps T of a window, history and horizon together.
        num_train_timesteps: noise levels K.
        network: its sizes.

    Raises:
        ValueError: an unknown attention.
    """

    def __init__(
        self, state_size: int, action_size: int, length: int, num_train_timesteps: int, network: Network = Network()
    ) -> None:
        super().__init__()
        hidden_size = network.hidden_size
        self.length = length
        self.levels = LevelEmbedding(num_train_timesteps, hidden_size)
        self.state_in, self.state_level = nn.Linear(state_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.state_mlp = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, hidden_size))
        self.action_in, self.action_level = nn.Linear(action_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.positions = nn.Parameter(torch.randn(2 * length, hidden_size) * 0.02)
        self.register_buffer("hidden", attention_mask(length, network.attention), persistent=False)
        self.hidden: Tensor
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden_size,
                network.num_heads,
                int(network.mlp_ratio * hidden_size),
                network.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
                bias=False,  # attention does not depend on a bias of its keys: Adam would turn its rounding into steps
            )
            for _ in range(network.num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.state_out = nn.Linear(hidden_size, state_size)
        self.action_out = nn.Linear(hidden_size, action_size)

    def forward(self, streams: tuple[Tensor, ...], levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Predict what the process of each stream asks for.

        Args:
            streams: noisy states (B, T, S) and actions (B, T, A).
            levels: noise levels of both (B, T) int64.

        Returns:
            Predictions (B, T, S) and (B, T, A).
        """
        (states, actions), (of_states, of_actions) = streams, levels
        table = self.levels()  # (K + 1, D)
        told = self.state_level(table)[of_states]  # (B, T, D)
        state_tokens = self.state_mlp(self.state_in(states) + told)  # (B, T, D)
        action_tokens = self.action_in(actions) + self.action_level(table)[of_actions]  # (B, T, D)
        tokens = torch.cat([state_tokens, action_tokens], dim=1) + self.positions  # (B, 2T, D)
        for block in self.blocks:
            tokens = block(tokens, src_mask=self.hidden)  # (B, 2T, D)
        tokens = self.norm(tokens)  # (B, 2T, D)
        return self.state_out(tokens[:, : self.length]), self.action_out(tokens[:, self.length :])
