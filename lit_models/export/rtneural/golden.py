"""Golden frames: raw inputs, and what the module in PyTorch gave for them, against which any runtime can be checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from litmotif.arrays import load_npz
from litmotif.errors import DataError

from .errors import FormatError, GoldenFramesError
from .interpret import Interpreter
from .layer import shortest

TOLERANCE = 1e-5
"""Largest allowed difference, absolute up to outputs of 1 and relative above."""


@dataclass(frozen=True)
class Golden:
    """One stream from its first frame on, float32.

    Attributes:
        inputs: raw frames (T, F).
        outputs: (T, K).
    """

    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]

    def write(self, npz: Path, text: Path) -> None:
        """Write both files; the one in JSON reads as the same float32 numbers."""
        np.savez_compressed(npz, inputs=self.inputs, outputs=self.outputs)
        frames = {
            "inputs": shortest(self.inputs.astype(np.float64)),
            "outputs": shortest(self.outputs.astype(np.float64)),
        }
        text.write_text(json.dumps(frames, separators=(",", ":"), allow_nan=False), encoding="utf-8")

    @staticmethod
    def read(npz: Path) -> "Golden":
        """Read what ``write`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: it is no such file.
        """
        if not npz.exists():
            raise FileNotFoundError(f"{npz} is missing. Export the model again.")
        try:
            kept = load_npz(npz, ["inputs", "outputs"])
            return Golden(*(kept[name].astype(np.float32, casting="same_kind") for name in ("inputs", "outputs")))
        except (DataError, TypeError) as error:
            raise FormatError(f"{npz} holds no golden frames ({error}). Export the model again.") from error


@torch.no_grad()
def make_golden(
    module: nn.Module, size: int, frames: int, seed: int, mean: Tensor | None = None, std: Tensor | None = None
) -> Golden:
    """Run seeded random frames, as spread as the training data was, through the module.

    Args:
        module: takes raw frames (1, T, F), or indices (1, T) where it begins with an Embedding; in evaluation mode.
        size: columns F.
        frames: T.
        seed: of the frames.
        mean: of each column; None for 0.
        std: of each column; None for 1.
    """
    random = torch.Generator().manual_seed(seed)
    if isinstance(next(iter(_leaves(module))), nn.Embedding):
        indices = torch.randint(size, (frames,), generator=random)
        inputs, outputs = nn.functional.one_hot(indices, size).float(), module(indices[None])[0]
    else:
        inputs = torch.randn(frames, size, generator=random)
        inputs = inputs * (1 if std is None else std) + (0 if mean is None else mean)  # (T, F)
        outputs = module(inputs[None])[0]  # (T, K)
    return Golden(inputs.float().numpy(), outputs.float().cpu().numpy())


def _leaves(module: nn.Module) -> list[nn.Module]:
    layers: list[nn.Module] = module.export_layers()  # type: ignore[operator]
    return [leaf for layer in layers for leaf in layer.modules() if not isinstance(leaf, nn.Sequential)]


def difference(outputs: NDArray[Any], golden: NDArray[Any]) -> float:
    """Largest difference, relative where the golden output is above 1; infinite where a number is NaN."""
    if outputs.shape != golden.shape:
        return float("inf")
    error = np.abs(outputs.astype(np.float64) - golden) / np.maximum(np.abs(golden.astype(np.float64)), 1)
    return float(np.nan_to_num(error, nan=np.inf, posinf=np.inf).max(initial=0.0))


def compare(model: Mapping[str, Any], golden: Golden, name: str = "model") -> float:
    """Run a valid file on the golden inputs in float32.

    Returns:
        The largest difference.

    Raises:
        GoldenFramesError: it is above ``TOLERANCE``.
    """
    found = difference(Interpreter(model).run(golden.inputs), golden.outputs)
    if not found <= TOLERANCE:
        raise GoldenFramesError(
            f"{name} differs from its golden frames by {found:.1e}, more than {TOLERANCE:.0e}. Where all shapes are "
            "right: a square matrix not transposed, gates in another order, another dilation, or other weights."
        )
    return found
