"""Every default and every config lies in the ranges that constructors hold their arguments to."""

import inspect

import pytest
import yaml

import datamodules
import lit_models
from lit_models.cli import configs
from litmotif.errors import ArgumentError
from litmotif.ranges import require_in_range
from tests.conformance.registry import REGISTRY

PUBLIC = {
    name: owner
    for package in (lit_models, datamodules)
    for name in package.__all__
    if inspect.isclass(owner := getattr(package, name))
}


def defaults(owner):
    bases = [base for base in reversed(owner.__mro__) if "__init__" in vars(base)]
    found = [p for base in bases for p in inspect.signature(base).parameters.values()]
    return {p.name: p.default for p in found if p.default is not p.empty}


@pytest.mark.parametrize("name", PUBLIC)
def test_defaults_and_tiny_sizes_are_in_range(name):
    require_in_range(defaults(PUBLIC[name]), PUBLIC[name])
    if name in REGISTRY:
        require_in_range(REGISTRY[name].tiny, PUBLIC[name])
        require_in_range(REGISTRY[name].tiny_data, PUBLIC[REGISTRY[name].data])


@pytest.mark.parametrize("name", configs.names())
def test_configs_are_in_range(name):
    content = yaml.safe_load(configs.find(name).read_text())
    for part in ("model", "data"):
        if "class_path" in content.get(part, {}):
            require_in_range(content[part].get("init_args", {}), PUBLIC[content[part]["class_path"]])


@pytest.mark.parametrize(
    ("owner", "values", "words"),
    [
        ("MotionEvaluator", {"network": {"hidden_size": 0}}, "network.hidden_size=0 must be at least 1"),
        ("MotionEvaluator", {"network": {"hidden_size": None}}, "network.hidden_size=None must be a whole number"),
        ("MDLMDiT", {"schedule": {"floor": 1.5}}, r"schedule.floor=1.5 must be in \[0, 1\]"),
        ("MDLMDiT", {"optimizer": {"lr": float("nan")}}, "optimizer.lr=nan must be finite"),
        ("MotionClips", {"num_workers": -1}, "num_workers=-1 must be at least 0"),
        ("StateActionDDPM", {"optimizer": {"weight_decay": -1.0}}, "optimizer.weight_decay=-1.0 must be 0 or more"),
    ],
)
def test_what_no_constructor_can_mean_is_refused(owner, values, words):
    with pytest.raises(ArgumentError, match=words):
        require_in_range(values, PUBLIC[owner])


def test_the_arguments_of_a_users_own_class_may_be_what_they_like():
    class Own(lit_models.CPO):
        def __init__(self, depth: int = 0, gamma: float = 3.0):
            """Of its own."""

    require_in_range({"depth": -5}, Own)
