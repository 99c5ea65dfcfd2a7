"""Conformance laws for a module and data of one's own: what a run may rely on, as ``check`` or as pytest cases.

``from litmotif import testing`` gives it too. In a test file, one line::

    test_mine = testing.cases(MyModule, MyData)

Each law trains a few steps on the CPU, so the data has to be small.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from litmotif.errors import LitmotifError

from .core.hparams import parameters, require_plain
from .core.module import BaseModule
from .core.pairing import built_for

Pair = tuple[LightningModule, LightningDataModule]
Options = Mapping[str, Any]
Law = Callable[[Callable[[], Pair], Path], None]


class LawError(LitmotifError, AssertionError):
    """A law that a module or its data breaks; the message names it, and what to look at."""


def check(
    module: type[LightningModule],
    data: type[LightningDataModule],
    model_options: Options = {},  # noqa: B006 (nobody changes it)
    data_options: Options = {},  # noqa: B006
) -> None:
    """Hold a module and its data to every law.

    Args:
        module: its class; it is built with what the data declares as ``links``.
        data: its class.
        model_options: arguments of the module beside those, small enough for a test of seconds.
        data_options: arguments of the data, likewise.

    Raises:
        LawError: the first law that is broken.
    """
    for law in LAWS:
        _hold(law, module, data, model_options, data_options)


def cases(
    module: type[LightningModule],
    data: type[LightningDataModule],
    model_options: Options = {},  # noqa: B006
    data_options: Options = {},  # noqa: B006
) -> Callable[..., None]:
    """The same as a test function of pytest, one case a law; arguments as of ``check``."""
    import pytest

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
    def test(law: Law) -> None:
        _hold(law, module, data, model_options, data_options)

    return test


def _hold(law: Law, module: Any, data: Any, own: Options, of_data: Options) -> None:
    def make() -> Pair:
        torch.manual_seed(0)
        made = data(**of_data)
        built = module(**built_for(module, made, own)) if issubclass(module, BaseModule) else module(**own)
        return built, made

    with tempfile.TemporaryDirectory() as folder:
        try:
            law(make, Path(folder))
        except LawError as error:
            raise LawError(f"{module.__name__} on {data.__name__} breaks the law {law.__name__!r}: {error}") from error


# ---------------------------------------------------------------------- laws
def plain_hyper_parameters(make: Callable[[], Pair], folder: Path) -> None:
    """Hyper-parameters are what YAML can write, so that a checkpoint loads with ``weights_only=True``."""
    module, _ = make()
    with _broken("give numbers, strings, lists and dictionaries", LitmotifError):
        require_plain(module.hparams, type(module).__name__)
    missing = sorted(parameters(type(module)).keys() - module.hparams.keys())
    _require(not missing, f"save_hyperparameters() has not kept {missing}")


def every_parameter_learns(make: Callable[[], Pair], folder: Path) -> None:
    """A few steps move every trainable parameter, and leave all of them finite."""
    module, data = make()
    before = {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}
    _fit(module, data, folder, max_steps=3)
    after = dict(module.named_parameters())
    wrong = [name for name in before if not after[name].isfinite().all()]
    _require(not wrong, f"after three steps these are not finite: {wrong}")
    still = [name for name, value in before.items() if torch.equal(value, after[name])]
    _require(not still, f"three steps do not move {still}: no gradient reaches them, or no optimiser has them")


def the_same_seed_gives_the_same_weights(make: Callable[[], Pair], folder: Path) -> None:
    """Two runs from the same start are equal to the last bit."""
    one, other = make(), make()
    for module, data in (one, other):
        _fit(module, data, folder, max_steps=3)
    _require_equal(one[0], other[0], "two runs of the same seed differ: look for randomness without a generator")


def a_resumed_run_equals_an_uninterrupted_one(make: Callable[[], Pair], folder: Path) -> None:
    """A run that goes on from a checkpoint in its middle ends with the same weights."""
    whole, data = make()
    steps = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    _fit(whole, data, folder, steps, max_steps=4)
    resumed, data = make()
    _fit(resumed, data, folder, ckpt_path=folder / "step=2.ckpt", max_steps=4)
    _require_equal(whole, resumed, "a resumed run differs: randomness, order of data or state that no checkpoint holds")


def a_checkpoint_gives_back_the_module(make: Callable[[], Pair], folder: Path) -> None:
    """``load_from_checkpoint`` needs no arguments, and no pickle."""
    module, data = make()
    trainer = _fit(module, data, folder, max_steps=1)
    trainer.save_checkpoint(folder / "end.ckpt")
    with _broken("hyper-parameters have to be plain, and saved"):
        again = type(module).load_from_checkpoint(folder / "end.ckpt", weights_only=True)
    _require_equal(module, again, "what load_from_checkpoint gives back has other weights")


def evaluation_leaves_the_weights_alone(make: Callable[[], Pair], folder: Path) -> None:
    """Validation logs finite numbers, changes no weight, and may come before a fit and after it."""
    module, data = make()
    if not _overrides(module, "validation_step"):
        return
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = [name for name, _ in module.named_parameters()]
    (found,) = _trainer(folder, limit_val_batches=2).validate(module, data, verbose=False)
    _require(bool(found), "validation logs nothing")
    wrong = [name for name in weights if not torch.equal(before[name], module.state_dict()[name])]
    _require(not wrong, f"validation changes {wrong}")
    with _broken("metrics have to be reset at the start of an evaluation"):
        _fit(module, data, folder, max_steps=1)
        _trainer(folder, limit_val_batches=2).validate(module, data, verbose=False)


LAWS: tuple[Law, ...] = (
    plain_hyper_parameters,
    every_parameter_learns,
    the_same_seed_gives_the_same_weights,
    a_resumed_run_equals_an_uninterrupted_one,
    a_checkpoint_gives_back_the_module,
    evaluation_leaves_the_weights_alone,
)
"""All of them, each a function of what makes a fresh pair and of an empty folder."""


# ---------------------------------------------------------------------- tools
def _trainer(folder: Path, *callbacks: Any, **options: Any) -> Trainer:
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"accelerator": "cpu", "devices": 1, "default_root_dir": folder, "num_sanity_val_steps": 0}
    return Trainer(**{**off, **settings, **options}, callbacks=[*callbacks], enable_checkpointing=bool(callbacks))


def _fit(
    module: LightningModule,
    data: LightningDataModule,
    folder: Path,
    *callbacks: Any,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    trainer = _trainer(folder, *callbacks, limit_val_batches=0, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")  # the saver of the run before
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable")  # the law says what comes of it
        trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def _overrides(module: LightningModule, name: str) -> bool:
    return getattr(type(module), name) is not getattr(LightningModule, name)


def _require(holds: bool, told: str) -> None:
    if not holds:
        raise LawError(told)


def _require_equal(one: LightningModule, other: LightningModule, told: str) -> None:
    pairs = zip(chain(one.parameters(), one.buffers()), chain(other.parameters(), other.buffers()), strict=True)
    _require(all(torch.equal(a, b) for a, b in pairs), told)


@contextmanager
def _broken(advice: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Turn whatever is raised inside into a broken law."""
    try:
        yield
    except kind as error:
        raise LawError(f"{type(error).__name__}: {error}: {advice}") from error
