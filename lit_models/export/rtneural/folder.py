"""Export folder: a model, its sidecar and its golden frames, all proven or none left."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .errors import ExportError, GoldenFramesError, ParityError
from .frames import FrameChain
from .golden import compare, make_golden
from .sidecar import describe, digest
from .validate import read, validate
from .writer import count_parameters, to_rtneural, write


@dataclass(frozen=True)
class Report:
    """Report of an export.

    Attributes:
        name: of the model.
        layers: types in order, each with its size and activation.
        parameters: numbers in the weights.
        bytes: of the model file.
        difference: largest difference between the file, interpreted, and PyTorch on the golden frames.
        files: all that was written.
    """

    name: str
    layers: list[str]
    parameters: int
    bytes: int
    difference: float
    files: list[Path]


def export(
    module: nn.Module,
    folder: Path,
    name: str | None = None,
    about: Mapping[str, Any] | None = None,
    frames: int = 256,
    seed: int = 0,
    fold_batchnorm: bool = True,
    input_size: int | None = None,
) -> Report:
    """Write ``NAME.json``, ``NAME.sidecar.json``, ``NAME.golden.npz`` and ``NAME.golden.json``.

    The written file is validated, and interpreted beside PyTorch on golden frames, before it gets its name.

    Args:
        module: maps raw frames (B, T, F) to (B, T, K). Offers ``export_layers()``, the chain that gives its output,
            one frame at a time; if its input is normalised first ``export_normaliser()``, mean and std (F,); and on
            demand ``export_thresholds()``. The hyper-parameter ``input_size`` is F. Or any ``nn.Sequential``, which
            maps frames one after another, see ``frames.FrameChain``.
        folder: made where it is not there.
        name: of the files; None takes the class's in lower case.
        about: more for the sidecar.
        frames: golden frames T.
        seed: of the golden frames.
        fold_batchnorm: see ``to_rtneural``.
        input_size: F, of a Sequential whose layers do not say it.

    Raises:
        UnsupportedLayerError: the format cannot express a layer.
        ExportError: the module offers no chain, or no chain that can be written.
        FormatError: a weight is NaN or infinite.
        ParityError: the file does not compute what the module computes.
        OSError: no space, or no permission.
    """
    kind, name = type(module).__name__, name or type(module).__name__.lower()
    if isinstance(module, nn.Sequential):
        module = FrameChain(module, input_size)
    size = getattr(module, "hparams", {}).get("input_size", getattr(module, "input_size", None))
    if not hasattr(module, "export_layers") or size is None:
        raise ExportError(
            f"{kind} offers no export_layers() and input_size: it is no chain of layers over frames. Give those, or an "
            "nn.Sequential of its layers."
        )
    if frames < 1 or Path(name).name != name:
        raise ExportError(f"name={name!r}, frames={frames}: give a file name without folders, and one frame or more.")
    module = module.cpu().eval()
    mean, std = getattr(module, "export_normaliser", lambda: (None, None))()
    model = to_rtneural(module.export_layers(), int(size), _list(mean), _list(std), fold_batchnorm, module)  # type: ignore[operator]
    validate(model, kind)
    golden = make_golden(module, int(size), frames, seed, mean, std)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        file = staging / f"{name}.json"
        write(model, file)
        try:
            difference = compare(read(file), golden, kind)
        except GoldenFramesError as error:
            raise ParityError(
                f"{error} export_layers() and export_normaliser() of {kind} must be the whole of its forward."
            ) from error
        npz, text = staging / f"{name}.golden.npz", staging / f"{name}.golden.json"
        golden.write(npz, text)
        kept = {"npz": npz.name, "json": text.name, "frames": frames, "seed": seed, "max_difference": difference}
        head = {"name": name, "file": file.name, "sha256": digest(file), "parameters": count_parameters(model)}
        sidecar = {**head, **describe(module, model, about or {}), "golden": kept}
        written = json.dumps(sidecar, indent=1, allow_nan=False)
        (staging / f"{name}.sidecar.json").write_text(written + "\n", encoding="utf-8")
        size_of_file = file.stat().st_size
        for path in staging.iterdir():
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(staging)
        if new and not any(folder.iterdir()):
            folder.rmdir()
    names = [f"{name}.json", f"{name}.sidecar.json", npz.name, text.name]
    layers = [_caption(layer) for layer in model["layers"]]
    return Report(name, layers, count_parameters(model), size_of_file, difference, [folder / n for n in names])


def _list(values: Tensor | None) -> list[float] | None:
    return None if values is None else values.double().tolist()


def _caption(layer: Mapping[str, Any]) -> str:
    activation = layer.get("activation", "")
    if layer["type"] == "activation":
        return str(activation)
    return f"{layer['type']} {layer['shape'][-1]}{f' {activation}' if activation else ''}"
