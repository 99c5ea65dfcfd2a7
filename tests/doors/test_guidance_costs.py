"""A guidance cost of one's own: named in YAML, or handed over as a function."""

import sys
from types import ModuleType

import pytest
import torch
import yaml

from lit_models.state_action.costs import Joystick, make_costs
from litmotif.errors import ArgumentError, ArgumentTypeError

from ..state_action.layouts import base

OWN = """
from dataclasses import dataclass
from lit_models.state_action.costs import Cost, Values

@dataclass(frozen=True, eq=False)
class Slow(Cost):
    limit: Values

    def of_future(self, states, actions):
        speed = states[..., self.layout.slice("root_vel")].norm(dim=-1)
        return (speed - self.per_step("limit", states, 0)).clamp_min(0).square().sum(dim=1)

class Other:
    def __init__(self, *args, **kwargs):
        raise SystemExit("nothing but a cost is ever called")
"""


@pytest.fixture
def own(monkeypatch):
    module = ModuleType("own_costs")
    monkeypatch.setitem(sys.modules, "own_costs", module)
    exec(OWN, module.__dict__)  # noqa: S102
    return module


def plans():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(3, 9, base.state_size, generator=draw), torch.randn(3, 9, base.action_size, generator=draw)


def test_a_cost_of_ones_own_is_named_by_its_class_path(own):
    written = "[{class_path: own_costs.Slow, init_args: {limit: 0.4}}, {cost: joystick, velocity: [1, 0], weight: 2}]"
    found = make_costs(yaml.safe_load(written), base, 2)(*plans())
    true = own.Slow(base, 2, 0.4)(*plans()) + Joystick(base, 2, [1.0, 0.0], weight=2.0)(*plans())
    torch.testing.assert_close(found, true)
    flat = make_costs([{"class_path": "own_costs.Slow", "limit": 0.4, "weight": 3.0}], base, 2)(*plans())
    torch.testing.assert_close(flat, 3 * own.Slow(base, 2, 0.4)(*plans()))


def test_a_cost_may_be_a_function():
    def own(states, actions):
        return actions.square().sum(dim=(1, 2))

    found = make_costs([own, {"cost": "joystick", "velocity": [1, 0]}], base, 2)(*plans())
    torch.testing.assert_close(found, own(*plans()) + Joystick(base, 2, [1.0, 0.0])(*plans()))


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ({"class_path": "own_costs.Slow"}, ArgumentError, r"costs\[0\] \(own_costs\.Slow\) lacks limit"),
        ({"class_path": "own_costs.Slow", "init_args": {"limt": 1}}, ArgumentError, "unknown key 'limt'.*'limit'"),
        ({"class_path": "own_costs.Other"}, ArgumentError, "no subclass of lit_models.state_action.costs.Cost"),
        ({"class_path": "own_costs.Nothing"}, ArgumentError, "no subclass of"),
        ({"class_path": "builtins.print"}, ArgumentError, "no subclass of"),
        ({"class_path": "Slow"}, ArgumentError, "no subclass of"),
        ({"class_path": "no_such_module.Slow"}, ArgumentError, "No module named.*PYTHONPATH"),
        ({"cost": "slow"}, ArgumentError, "cost='slow' is unknown.*class_path"),
        (3, ArgumentTypeError, r"costs\[0\]: 3 is no cost"),
        ("joystick", ArgumentTypeError, "'joystick' is no cost"),
    ],
)
def test_what_is_no_cost_is_refused(own, entry, kind, message):
    with pytest.raises(kind, match=message):
        make_costs([entry], base, 2)
