"""Checkpoints: plain data and tensors, whole or refused, read without a pickle, given back as the right class.

PyTorch's files are ZIP archives whose tensors it reads without looking at their CRC, so that a flipped bit becomes a
weight: here every CRC is looked at first.
"""

import importlib
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Set
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule

from litmotif.errors import LitmotifError

from .hparams import current, flat, keys, parameters

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
ARCHIVE, PICKLE = b"PK\x03\x04", b"\x80"  # how a ZIP file begins, and what PyTorch wrote before it wrote these
UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError)
"""What ``zipfile`` and PyTorch raise where the headers of an archive are not as they were."""
REGISTERED = "litmotif.modules"
"""Group of entry points under which a package of one's own names the classes that ``load`` gives back."""
PREFERENCE = ("best.ckpt", LAST, PREVIOUS, "exception.ckpt")


class CheckpointError(LitmotifError, ValueError):
    """A file that is no checkpoint of ours; the message says what it is and what to do."""


def describe(module: LightningModule) -> dict[str, Any]:
    """The entry that a checkpoint carries about its class."""
    return {"class": type(module).__name__, "module": type(module).__module__}


def require_fit(checkpoint: dict[str, Any], module: LightningModule, shape: Set[str]) -> None:
    """Refuse a checkpoint of another class, of another value of a hyper-parameter of ``shape``, or of other tensors.

    Args:
        checkpoint: what was read.
        module: what it is for.
        shape: keys of hyper-parameters, see ``hparams.keys``.

    Raises:
        CheckpointError: names both classes, the hyper-parameter and both its values, or a tensor that is missing.
    """
    written = checkpoint.get("litmotif", {}).get("class", type(module).__name__)
    if written != type(module).__name__:
        raise CheckpointError(
            f"The checkpoint holds a {written}, not a {type(module).__name__}. Choose the config of that class, or "
            "give back the right class with lit_models.load(path)."
        )
    old, now = (flat(type(module), values) for values in (written_hparams(checkpoint, type(module)), module.hparams))
    for name in sorted(shape & old.keys()):
        if plain(old[name]) != plain(now[name]):
            raise CheckpointError(
                f"{name} is {plain(old[name])} in the checkpoint and {plain(now[name])} here: they do not fit. Give it "
                "the checkpoint's value, or train a new model."
            )
    if "state_dict" in checkpoint and (lacking := sorted(module.state_dict().keys() - checkpoint["state_dict"].keys())):
        raise CheckpointError(
            f"The checkpoint has no {lacking[0]}{f' and {len(lacking) - 1} more' if lacking[1:] else ''}: an earlier "
            "version, or a network of other layers, wrote it. Give it the config of its run, or train a new model."
        )


def written_hparams(checkpoint: Mapping[str, Any], owner: type) -> dict[str, Any]:
    """The hyper-parameters of a checkpoint of a class.

    Raises:
        CheckpointError: an earlier version wrote it; names each key with the one of now.
    """
    hparams = {
        name: value for name, value in checkpoint.get("hyper_parameters", {}).items() if not name.startswith("_")
    }
    if old := [name for name in hparams if name not in parameters(owner)]:
        called = ", ".join(f"{name} is {current(name, keys(owner)) or 'no more'}" for name in old)
        raise CheckpointError(
            f"An earlier version of {owner.__name__} wrote this checkpoint: {called}. Go on with it in that version, "
            "or train a new model."
        )
    return hparams


def predecessor(path: Path) -> Path | None:
    """Where the checkpoint before this one is kept; None for those that keep none."""
    return path.with_name(PREVIOUS) if path.name == LAST else None


def damage(path: Path) -> str | None:
    """Truncation or changed bytes of a checkpoint file, in words; None where nothing is wrong.

    Args:
        path: of an existing file; what PyTorch wrote before it wrote archives carries no checksums.
    """
    with path.open("rb") as file:
        begin = file.read(len(ARCHIVE))
        if begin.startswith(PICKLE):
            return None
        fault = "its end is missing" if begin == ARCHIVE else "it is no archive" if begin else "it is empty"
        try:
            with zipfile.ZipFile(file) as archive:
                fault = "its headers are wrong"
                changed = archive.testzip()
            if changed is None:
                torch.load(path, "meta", weights_only=True, mmap=True)  # headers, of which there are no checksums
        except pickle.UnpicklingError:
            return None  # whole, whatever it may hold
        except UNREADABLE:
            return fault
    return changed and f"the checksum of {changed} is wrong"


def plain(value: Any) -> Any:
    """A value as YAML has it: sequences are lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def find(path: str | Path) -> Path:
    """The checkpoint file that ``path`` names: itself, or the best of a run folder, else the last, else the only one.

    Raises:
        FileNotFoundError: nothing there; the message lists what was looked for.
    """
    path = Path(path)
    if not path.is_dir():
        candidates = [path]
    else:
        candidates = [folder / name for name in PREFERENCE for folder in (path / "checkpoints", path)]
        others = [file for folder in (path / "checkpoints", path) for file in sorted(folder.glob("*.ckpt"))]
        candidates += others if len(others) == 1 else []
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise FileNotFoundError("No checkpoint: looked for " + ", ".join(str(candidate) for candidate in candidates))
    return found


def read(path: str | Path, map_location: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``: nothing in it can run.

    Args:
        path: a ``.ckpt`` file or a run folder.
        map_location: where its tensors go.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated or changed, a pickle in disguise, or no Lightning checkpoint.
    """
    file = find(path)
    if fault := damage(file):
        raise CheckpointError(f"{file} is damaged: {fault}. Take an earlier one.")
    try:
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} holds pickled objects, not plain data and tensors; it was not opened, for it could run code. "
            "Write it again with plain hyper-parameters, or take another checkpoint."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or no checkpoint ({error}). Take an earlier one.") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{file} is no Lightning checkpoint: it has no 'state_dict'.")
    return checkpoint


def class_of(checkpoint: Mapping[str, Any], path: str | Path) -> Any:
    """The class that wrote a checkpoint: a public one, or one that an installed package has registered.

    Raises:
        CheckpointError: neither; nothing is imported because a file says so.
    """
    package = importlib.import_module("..", __package__)
    name = checkpoint.get("litmotif", {}).get("class")
    if name in package.__all__:
        return getattr(package, name)
    registered = entry_points(group=REGISTERED)
    if name is not None and name in registered.names:
        return registered[name].load()
    raise CheckpointError(
        f"{path} holds {name or 'no class name'}, none of {sorted({*package.__all__, *registered.names} - {'load'})}. "
        f"A class of your own: NAME.load_from_checkpoint(path), or the entry point NAME of the group {REGISTERED!r}."
    )


def load(
    path: str | Path, weights: Literal["average", "raw"] = "average", map_location: str = "cpu"
) -> LightningModule:
    """Give back a trained module, in eval mode.

    Args:
        path: a ``.ckpt`` file, or a run folder (its best checkpoint, else its last).
        weights: ``average`` takes the averaged weights where the run kept an average; ``raw`` the trained ones.
        map_location: the device.

    Returns:
        A module of the class that wrote the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: of no public and no registered class, or its shapes do not fit its hyper-parameters.
    """
    checkpoint = read(path, map_location)
    kind = class_of(checkpoint, path)
    module: LightningModule = kind(**written_hparams(checkpoint, kind))
    state = checkpoint.get("current_model_state") if weights == "raw" else None
    try:
        module.load_state_dict(state or checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the architecture that it names: {error}") from error
    return module.to(map_location).eval()
