"""Checkpoints: plain data and tensors, whole or refused, read without a pickle, given back as the right class.

PyTorch's files are ZIP archives whose tensors it reads without looking at their CRC, so that a flipped bit becomes a
weight: here every CRC is looked at first.
"""

import importlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from litmotif.bounds import require_regular
from litmotif.errors import DataError, LitmotifError

from .hparams import current, flat, groups, keys, parameters, unplain

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
ARCHIVE, PICKLE = b"PK\x03\x04", b"\x80"  # how a ZIP file begins, and what PyTorch wrote before it wrote these
REGISTERED = "litmotif.modules"
"""Group of entry points under which a package of one's own names the classes that ``load`` gives back."""
PARTS: dict[str, type] = {
    "state_dict": dict,
    "hyper_parameters": dict,
    "datamodule_hyper_parameters": dict,
    "litmotif": dict,
    "callbacks": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
"""What a checkpoint may hold, and of what type."""
MOST_BYTES = 2**40
"""Of a checkpoint: more than any disk of a machine that reads it has free."""
SLACK = 8
"""How many times the weights of a checkpoint a network of its may hold, for what it keeps twice or computes."""
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
        CheckpointError: they are no plain values, or of an earlier version: names each key with the one of now.
    """
    found = checkpoint.get("hyper_parameters", {})
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise CheckpointError("The hyper-parameters of the checkpoint are no values by name. Take another one.")
    hparams = {name: value for name, value in found.items() if not name.startswith("_")}
    for name, value in hparams.items():
        fault = unplain(value) or ("no options" if name in groups(owner) and not isinstance(value, Mapping) else "")
        if fault:
            raise CheckpointError(f"The hyper-parameter {name} of the checkpoint holds {fault}. Take another one.")
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
        except Exception:  # zipfile and PyTorch trust the headers of an archive
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
    try:
        require_regular(file, MOST_BYTES)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if fault := damage(file):
        raise CheckpointError(f"{file} is damaged: {fault}. Take an earlier one.")
    try:
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} holds pickled objects, not plain data and tensors; it was not opened, for it could run code. "
            "Write it again with plain hyper-parameters, or take another checkpoint."
        ) from error
    except Exception as error:  # PyTorch's readers trust what they read: any of Python's errors may come
        raise CheckpointError(f"{file} is damaged or no checkpoint ({error}). Take an earlier one.") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{file} is no Lightning checkpoint: it has no 'state_dict'.")
    for key, kind in PARTS.items():
        if not isinstance(checkpoint.get(key, kind()), kind):
            raise CheckpointError(f"{file} is no Lightning checkpoint: its {key!r} is no {kind.__name__}.")
    state = checkpoint["state_dict"]
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise CheckpointError(f"{file} is no Lightning checkpoint: its 'state_dict' holds more than tensors.")
    return checkpoint


def class_of(checkpoint: Mapping[str, Any], path: str | Path) -> Any:
    """The class that wrote a checkpoint: a public one, or one that an installed package has registered.

    Raises:
        CheckpointError: neither; nothing is imported because a file says so.
    """
    package = importlib.import_module("..", __package__)
    name = class_name(checkpoint)
    if name in package.__all__ and isinstance(kind := getattr(package, name), type):
        return kind
    registered = entry_points(group=REGISTERED)
    if name in registered.names:
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
    module = _build(class_of(checkpoint, path), checkpoint, path)
    state = checkpoint.get("current_model_state") if weights == "raw" else None
    try:
        module.load_state_dict(state or checkpoint["state_dict"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit the architecture that it names: {error}") from error
    return module.to(map_location).eval()


def class_name(checkpoint: Mapping[str, Any]) -> str:
    """The name of the class that wrote a checkpoint; empty where it says none."""
    about = checkpoint.get("litmotif")
    name = about.get("class") if isinstance(about, Mapping) else None
    return name if isinstance(name, str) else ""


def _build(kind: type[LightningModule], checkpoint: Mapping[str, Any], path: str | Path) -> LightningModule:
    """A module of the hyper-parameters of a checkpoint, no larger than its weights explain.

    Raises:
        CheckpointError: they are no plain values, or no such module can be made of them.
    """
    try:
        with _at_most(checkpoint["state_dict"]):
            return kind(**written_hparams(checkpoint, kind))
    except LitmotifError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # whatever the constructor of a network says of numbers that are none
        raise CheckpointError(f"{path}: {kind.__name__} cannot be made as it says ({error}).") from error


@contextmanager
def _at_most(state: Mapping[str, Any]) -> Iterator[None]:
    """Stop a network that grows beyond the weights that are there for it, before its memory is touched."""
    there = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()}
    left = [SLACK * len(state) + 1000, SLACK * sum(there.values()) + 2**22]

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        left[0] -= 1
        left[1] -= parameter.nbytes if parameter is not None else 0
        if min(left) < 0:
            raise LitmotifError("its hyper-parameters ask for a network many times as large as its weights.")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
