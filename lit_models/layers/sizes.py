"""Sizes of a transformer, which the networks of several algorithms share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of a chain of blocks of attention and a perceptron.

    Attributes:
        hidden_size: token width D.
        num_layers: blocks.
        num_heads: attention heads; divides D.
        mlp_ratio: width of the perceptrons over D.
        dropout: rate in attention, perceptrons and behind both.
    """

    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    mlp_ratio: float = 4.0
    dropout: float = 0.0
