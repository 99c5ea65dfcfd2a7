"""Sidecar metadata: what a caller must know about an exported model that its weights do not say."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from torch import Tensor, nn

from litmotif.bounds import read_json
from litmotif.errors import DataError

from .errors import FormatError, MissingKeyError, NotJSONError, OtherModelError
from .golden import Golden, compare
from .validate import frame_size, read

LIBRARIES = ("torch", "lightning", "numpy")
REQUIRED = ("file", "sha256", "input", "output", "golden")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def runtime_layers(model: Mapping[str, Any]) -> int:
    """Layers that the runtime holds after loading: an activation beside weights is one of its own."""
    own = [layer["type"] == "activation" or not layer.get("activation") for layer in model["layers"]]
    ignored = [layer["type"] in ("lstm", "gru") for layer in model["layers"]]
    return sum(1 if alone or recurrent else 2 for alone, recurrent in zip(own, ignored, strict=True))


def describe(module: nn.Module, model: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """All of the sidecar but the files it names.

    Args:
        module: may have ``hparams`` with ``features`` and ``outputs`` (names of columns), and ``export_thresholds()``.
        model: the file.
        about: what the command knows: ``data``, ``frame``, ``metrics``, ``checkpoint``.
    """
    from ... import __version__

    hparams: Mapping[str, Any] = getattr(module, "hparams", {})
    thresholds = module.export_thresholds() if hasattr(module, "export_thresholds") else {}  # type: ignore[operator]
    last = model["layers"][-1]
    return {
        "format": "RTNeural dynamic JSON",
        "class": type(module).__name__,
        "input": {
            "size": frame_size(model["in_shape"], "in_shape"),
            "features": list(hparams.get("features") or []),
            "normalisation": "in the weights: feed raw features",
        },
        "output": {
            "size": frame_size(last["shape"], "shape"),
            "names": list(hparams.get("outputs") or []),
            "activation": last.get("activation", "") if last["type"] not in ("lstm", "gru") else "",
        },
        "thresholds": plain(thresholds),
        "runtime_layers": runtime_layers(model),
        **plain(about),
        "versions": {
            "litmotif": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
    }


def plain(value: Any) -> Any:
    """A value as JSON has it; what is not finite becomes null, an absolute path its last part."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, int | bool | None):
        return value
    text = str(value)  # of a path the name alone: where it lies is nobody's business
    return PureWindowsPath(text).name if _is_path(text) else text


def _is_path(text: str) -> bool:
    return PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith("~")


def verify(path: Path) -> float:
    """Check an exported model from its sidecar: the format, that it is that model, and its golden frames.

    Args:
        path: of the sidecar; the files that it names lie beside it.

    Returns:
        The largest difference from the golden frames.

    Raises:
        FileNotFoundError: a file is missing.
        OtherModelError: the file is not the one that was exported with this sidecar.
        FormatError: what else is wrong, see ``errors``.
    """
    try:
        sidecar = read_json(path)
    except DataError as error:
        raise NotJSONError(f"{path} is no JSON: {error} Export the model again.") from error
    missing = [key for key in REQUIRED if not isinstance(sidecar, dict) or key not in sidecar]
    if missing:
        raise MissingKeyError(f"{path} is no sidecar: {missing[0]!r} is missing. Export the model again.")
    parts = {key: sidecar[key] for key in ("input", "output", "golden")}
    names = [sidecar["file"], parts["golden"].get("npz") if isinstance(parts["golden"], dict) else None]
    if not all(isinstance(part, dict) for part in parts.values()) or any(
        not isinstance(name, str) or not name or Path(name).name != name for name in names
    ):
        raise FormatError(f"{path} is no sidecar: it must name files beside it. Export the model again.")
    file = path.with_name(sidecar["file"])
    model = read(file)
    sizes = {"input": frame_size(model["in_shape"], "in_shape"), "output": frame_size(model["layers"][-1]["shape"], "")}
    for part, size in sizes.items():
        if size != sidecar[part].get("size"):
            raise OtherModelError(
                f"{file} is another model: its {part} has {size} numbers a frame, {path.name} says "
                f"{sidecar[part].get('size')}. Keep the files of one export together."
            )
    if digest(file) != sidecar["sha256"]:
        raise OtherModelError(
            f"{file} is another model, or was changed: its SHA-256 is not the one in {path.name}. Keep the files of "
            "one export together, or export again."
        )
    golden = Golden.read(path.with_name(sidecar["golden"]["npz"]))
    if golden.inputs.ndim != 2 or golden.inputs.shape[1] != sizes["input"]:
        raise FormatError(f"{sidecar['golden']['npz']} holds frames {golden.inputs.shape} of another model.")
    return compare(model, golden, str(file))
