"""Linear start: a chain of dense, tanh and LSTM layers that begins as a linear map of its input, and learns the rest.

A tanh is linear near 0: a few units of each layer carry the map scaled down by ``SCALE``, and the last layer scales it
up again. An LSTM cell does likewise with its input and output gates open and its forget gate shut.
"""

from typing import Any

import torch
from torch import Tensor, nn

SCALE = 0.1
COPIES = 16
"""Units a layer that carry the same number, so that dropout takes little of it."""
OPEN = 5.0
"""Bias of a gate that is open; shut with the other sign."""


@torch.no_grad()
def begin_linear(stack: Any, weight: Tensor, bias: Tensor) -> None:
    """Set the first outputs of a stack to a linear map of its input, up to the error of tanh at ``SCALE`` times it.

    Args:
        stack: layers Linear, Tanh, LSTM and Dropout, the last one Linear; hidden ones at least ``K * COPIES`` wide.
        weight: (F, K).
        bias: (K,).
    """
    layers: list[Any] = [layer for layer in stack if isinstance(layer, nn.Linear | nn.LSTM)]
    count = weight.shape[1]
    columns = torch.arange(count).repeat_interleave(COPIES)  # the output that each carrying unit stands for
    average = (columns[:, None] == columns).float() / COPIES  # (K * COPIES, K * COPIES)
    for place, layer in enumerate(layers[:-1]):
        carried = SCALE * weight.T[columns] if place == 0 else average
        if isinstance(layer, nn.Linear):
            _carry(layer.weight, layer.bias, slice(0, len(columns)), carried)
            continue
        size, gates = layer.hidden_size, (OPEN, -OPEN, None, OPEN)  # input, forget, cell, output
        for number, gate in enumerate(gates):
            rows = slice(number * size, number * size + len(columns))
            _carry(layer.weight_ih_l0, layer.bias_ih_l0, rows, carried * (gate is None), gate or 0.0)
            layer.weight_hh_l0[rows], layer.bias_hh_l0[rows] = 0.0, 0.0
    last, recurrent = layers[-1], sum(isinstance(layer, nn.LSTM) for layer in layers)
    opened = torch.sigmoid(torch.tensor(OPEN)).item() ** (2 * recurrent)
    last.weight[:count] = 0.0
    last.weight[:count, : len(columns)] = (torch.arange(count)[:, None] == columns) / (COPIES * SCALE * opened)
    last.bias[:count] = bias


def _carry(weight: Tensor, bias: Tensor, rows: slice, carried: Tensor, constant: float = 0.0) -> None:
    """Set rows of a layer to ``carried`` (N, n) of its first inputs, and nothing of the others."""
    weight[rows] = 0.0
    weight[rows, : carried.shape[1]] = carried
    bias[rows] = constant
