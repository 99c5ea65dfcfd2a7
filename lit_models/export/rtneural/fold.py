"""Batch-norm folding: what scales and shifts goes into the matrix beside it, exactly."""

from dataclasses import replace

import numpy as np

from .layer import Array, Layer

LINEAR = ("dense", "conv1d")
MATRIX = (*LINEAR, "lstm", "gru")


def normaliser(mean: Array, std: Array) -> Layer:
    """(x - mean) / std as a layer, a column at a time."""
    return Layer("batchnorm", len(mean), len(mean), (mean, std**2), {"epsilon": 0.0})


def affine(norm: Layer) -> tuple[Array, Array]:
    """Scale and shift (F,) of a batchnorm layer: gamma (x - mean) / sqrt(var + epsilon) + beta."""
    mean, var = norm.weights[-2:]
    scale = 1 / np.sqrt(var + norm.options["epsilon"])
    if len(norm.weights) == 2:
        return scale, -mean * scale
    gamma, beta = norm.weights[:2]
    return gamma * scale, beta - mean * gamma * scale


def fold_all(layers: list[Layer]) -> list[Layer]:
    """Fold each batchnorm into the layer before it, else into the one behind it, else keep it: all exact."""
    done: list[Layer] = []
    for layer in layers:
        previous = done[-1] if done else None
        if layer.type == "batchnorm" and previous and previous.type in LINEAR and not previous.activation:
            done[-1] = after(previous, *affine(layer))
        elif previous and previous.type == "batchnorm" and can_follow(layer, affine(previous)[1]):
            done[-1] = before(layer, *affine(previous))
        else:
            done.append(layer)
    return done


def can_follow(layer: Layer, shift: Array) -> bool:
    """Condition for ``before`` to be exact: the zeros that a convolution sees before the start must not be shifted."""
    if layer.type == "conv1d":
        return len(layer.weights[0]) == 1 or not shift.any()
    return layer.type in MATRIX


def after(layer: Layer, scale: Array, shift: Array) -> Layer:
    """The dense or conv1d layer that gives scale * y + shift where ``layer`` gives y."""
    kernel, *bias = layer.weights
    return replace(layer, weights=(kernel * scale, (bias[0] * scale if bias else 0) + shift))  # out is the last axis


def before(layer: Layer, scale: Array, shift: Array) -> Layer:
    """The layer that does with x what ``layer`` does with scale * x + shift."""
    kernel, *others = layer.weights
    if layer.type == "conv1d":
        group = np.arange(layer.size) // (layer.size // layer.options["groups"])  # of each output
        column = kernel.shape[1] * group + np.arange(kernel.shape[1])[:, None]  # (in / groups, out): of the input
        return replace(layer, weights=(kernel * scale[column], others[0] + (kernel * shift[column]).sum((0, 1))))
    scaled, moved = kernel * scale[:, None], shift @ kernel
    if layer.type == "dense":
        return replace(layer, weights=(scaled, moved + (others[0] if others else 0)))
    if layer.type == "lstm":
        return replace(layer, weights=(scaled, others[0], others[1] + moved))
    return replace(layer, weights=(scaled, others[0], others[1] + np.stack([moved, np.zeros_like(moved)])))


def join_activations(layers: list[Layer]) -> list[Layer]:
    """Name an activation in the dense or conv1d layer before it."""
    done: list[Layer] = []
    for layer in layers:
        if layer.type == "activation" and done and done[-1].type in LINEAR and not done[-1].activation:
            done[-1] = replace(done[-1], activation=layer.activation)
        else:
            done.append(layer)
    return done
