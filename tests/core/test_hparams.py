import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import lit_models
from lit_models.core.checkpoint import CheckpointError, written_hparams
from lit_models.core.hparams import RENAMED, keys, parameters, require_plain, strangers
from lit_models.core.module import BaseModule
from lit_models.core.optim import Optimizer
from litmotif.errors import ArgumentError, ArgumentTypeError

from ..conformance.registry import REGISTRY


@pytest.mark.parametrize(
    "bad", [Path("x"), np.float64(1.0), torch.zeros(1), torch.nn.ReLU, functools.partial(print), {1, 2}, np.int64(3)]
)
def test_what_yaml_cannot_write_is_refused_by_name(bad):
    with pytest.raises(TypeError, match=r"Net\(inner\.values\[1\]=\.\.\.\)"):
        require_plain({"fine": 1, "inner": {"values": [0.5, bad]}}, "Net")


def test_plain_values_pass():
    require_plain({"a": 1, "b": [1.0, "x", None, True], "c": {"d": (1, 2)}}, "Net")


@dataclass(frozen=True)
class Size:
    """Of the network."""

    width: int = 3
    ratios: tuple[float, float] = (1.0, 2.0)
    kind: Literal["a", "b"] = "a"


class Grouped(BaseModule):
    """Options in a group, and one that stands alone."""

    def __init__(self, depth: int = 1, size: Size = Size(), **kwargs):
        super().__init__(**kwargs)


WHOLE = {"width": 5, "ratios": (0.5, 0.25), "kind": "a"}


@pytest.mark.parametrize("given", [Size(5, (0.5, 0.25)), {"width": 5, "ratios": [0.5, 0.25]}, WHOLE])
def test_a_group_is_given_as_itself_or_in_plain_values_and_kept_whole_and_plain(given):
    module = Grouped(size=given)
    assert module.group(Size) == Size(5, (0.5, 0.25))
    assert module.hparams["size"] == module.hparams_initial["size"] == WHOLE
    assert Grouped(**module.hparams).group(Size) == module.group(Size)
    assert module.hparams["optimizer"]["lr"] == 1e-3


class Again(Grouped):
    """Saves once more what it was given, as is the habit with Lightning."""

    def __init__(self, more: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.save_hyperparameters()


def test_hyper_parameters_that_are_saved_once_more_stay_plain_and_whole():
    for given in (Size(5), {"width": 5}):
        module = Again(more=2, size=given, optimizer=Optimizer(lr=0.5))
        assert module.hparams["size"] == {"width": 5, "ratios": (1.0, 2.0), "kind": "a"}
        assert module.hparams_initial["optimizer"]["lr"] == 0.5
        assert module.hparams["more"] == 2
        require_plain(module.hparams, "Again")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": {"witdh": 5}}, r"Grouped\.size has no 'witdh'.*'width'"),
        ({"size": {"width": "wide"}}, r"Grouped\.size\.width.*int.*wide"),
        ({"size": {"kind": "c"}}, r"Grouped\.size\.kind.*'a', 'b'"),
        ({"size": 5}, r"Grouped\.size=5.*group"),
        ({"size": {"ratios": [1.0]}}, r"Grouped\.size\.ratios"),
        ({"optimizer": "muon"}, r"Grouped\.optimizer='muon'.*name"),
        ({"width": 5}, r"Grouped has no 'width'. It is 'size\.width' now"),
        ({"lr": 0.1, "betas": [0.9, 0.9]}, r"'optimizer\.lr' now.*'optimizer\.betas' now"),
        ({"learning_rate": 0.1}, r"'optimizer\.lr' now"),
        ({"dept": 0.1}, "'dept'.*'depth'"),
    ],
)
def test_what_a_constructor_does_not_take_is_answered_with_what_it_does(options, words):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        Grouped(**options)


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_old_names_are_answered_with_names_that_there_are(old):
    """Each in at least one of the public modules, and none in its old place."""
    options = [set(keys(getattr(lit_models, name))) for name in REGISTRY]
    assert any(RENAMED[old] in known for known in options)
    assert not any(old in known for known in options)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_option_is_found_by_its_last_name(name):
    kind = getattr(lit_models, name)
    for option in {key.rpartition(".")[2] for key in keys(kind)} - parameters(kind).keys():
        assert re.search(rf"has no '{option}'. It is '\w+\.{option}' now", strangers(kind, [option]))


def test_a_checkpoint_of_an_earlier_version_is_refused_with_every_new_name():
    with pytest.raises(
        CheckpointError, match=r"lr is optimizer\.lr, lr_schedule is schedule\.name\..*train a new model"
    ):
        written_hparams({"hyper_parameters": {"depth": 2, "lr": 0.1, "lr_schedule": "cosine"}}, Grouped)
