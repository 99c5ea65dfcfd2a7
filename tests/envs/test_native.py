"""The compiled step of one episode: number for number what the tensors do, and many times faster."""

import time

import gymnasium
import numpy as np
import pytest
import torch

import datamodules.envs
from datamodules.envs.native import step as native
from datamodules.envs.native.recorder import UnrecordableError, record
from datamodules.envs.scalar import PATIENCE
from litmotif.errors import ArgumentError, MissingExtraError

assert datamodules.envs is not None  # registers
SETTINGS = {"level": 3, "impairment": "mixed", "severity": [0.2, 0.9], "max_episode_steps": 25}
needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C compiler")


def made(name, **settings):
    return gymnasium.spec(f"litmotif/{name}-v0").entry_point(**settings)


@pytest.fixture(scope="module")
def pair():
    """One episode by tensors, and the same compiled."""
    settings = SETTINGS | {"bilateral": True}
    return made("ExoskeletonLeg", compiled=False, **settings), made("ExoskeletonLeg", compiled=True, **settings)


def same(slow, fast, steps):
    rng = np.random.default_rng(0)
    first, second = (env.reset(seed=5)[0] for env in (slow, fast))
    for _ in range(steps):
        np.testing.assert_allclose(second, first, atol=1e-4)
        action = rng.uniform(-1.2, 1.2, slow.action_space.shape).astype(np.float32)
        one, other = slow.step(action), fast.step(action)
        assert other[1] == pytest.approx(one[1], abs=1e-4)
        assert one[2:4] == other[2:4]
        assert other[4] == pytest.approx(one[4], abs=1e-3)
        first, second = one[0], other[0]
        if one[2] or one[3]:
            first, second = slow.reset()[0], fast.reset()[0]


@needs_compiler
def test_the_compiled_leg_lives_through_what_the_tensors_do(pair):
    same(*pair, 60)


@needs_compiler
def test_the_state_of_a_compiled_episode_can_be_drawn_and_saved(pair):
    slow, fast = pair
    for env in pair:
        env.reset(seed=2)
        for _ in range(3):
            env.step(np.full(env.action_space.shape, 0.2, dtype=np.float32))
    expected, found = slow.batch.state, fast.batch.state
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_compiled_step_refuses_what_the_tensors_refuse(pair):
    for env in pair:
        env.reset(seed=0)
        for action in (np.zeros(2), np.full(env.action_space.shape, np.nan)):
            with pytest.raises(ValueError, match=r"finite|shape"):
                env.step(action)


@needs_compiler
def test_a_compiled_step_is_twenty_times_as_fast(pair):
    rates = []
    for env, steps in zip(pair, (60, 3000), strict=True):
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape, dtype=np.float32)
        began = time.process_time()
        for _ in range(steps):
            env.step(action)
        rates.append(steps / (time.process_time() - began))
    assert rates[1] > 20.0 * rates[0]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["Wheelchair", "ExoskeletonArm"])
def test_every_simulator_lives_through_the_same_compiled(name):
    same(made(name, compiled=False, **SETTINGS), made(name, compiled=True, **SETTINGS), 60)


def test_it_is_compiled_after_a_while_and_never_in_the_middle_of_an_episode(monkeypatch):
    asked = []
    monkeypatch.setattr("datamodules.envs.scalar.compiler", lambda: "cc")
    monkeypatch.setattr("datamodules.envs.scalar.CompiledStep", lambda batch: asked.append(1))
    for compiled, expected in ((None, 1), (False, 0), (True, 2)):
        asked.clear()
        env = made("TabularCMDP", compiled=compiled)
        env.reset(seed=0)
        for _ in range(PATIENCE):
            env.step(0)
        env.reset()
        assert len(asked) == expected


def test_what_cannot_be_compiled_stays_as_it_is_unless_it_has_to_be(monkeypatch):
    with pytest.raises(ArgumentError, match="TabularCMDP cannot be"):
        made("TabularCMDP", compiled=True).reset(seed=0)
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match="C compiler"):
        made("ExoskeletonLeg", compiled=True).reset(seed=0)


@pytest.mark.parametrize(
    "computation",
    [
        lambda x: [x if x.sum() > 0 else -x],
        lambda x: [x if len((x > 2).nonzero()) == 0 else -x],  # nothing of it is used here
        lambda x: [x[x > 0].sum()],
        lambda x: [torch.linalg.inv(x.diag())],
    ],
)
def test_a_course_that_depends_on_the_numbers_is_not_recorded(computation):
    with pytest.raises(UnrecordableError):
        record(computation, {"f+0": torch.ones(2)})


def test_a_projected_leg_stays_with_tensors():
    env = made("ExoskeletonLeg", projection=True, compiled=True, **SETTINGS)
    with pytest.raises(ArgumentError, match=r"ExoskeletonLeg cannot be: nonzero"):
        env.reset(seed=0)


CASES = {
    "views": lambda x, y: [x.T.flatten(), x.view(3, 2).unbind(1)[0] + y[0], x.flip(1).roll(1, 0)],
    "in place": lambda x, y: [torch.zeros(2, 3).add_(x).mul_(y).clamp_(-0.5, 0.5)],
    "written parts": lambda x, y: [_written(x, y)],
    "reductions": lambda x, y: [x.sum(0), x.mean(1, keepdim=True), x.amax(), *x.min(1), (x > 0).any(0), (x > 9).all()],
    "arithmetic": lambda x, y: [
        torch.addcmul(x, x, y, value=0.3),
        x.lerp(y, 0.7),
        2.0 - x,
        x.remainder(0.3),
        x / (y + 9),
    ],
    "functions": lambda x, y: [
        x.sigmoid(),
        x.tanh(),
        x.abs().sqrt(),
        torch.hypot(x, y),
        torch.atan2(x, y),
        x.sign(),
        -x,
    ],
    "choices": lambda x, y: [torch.where(x > y, x, 0.0), torch.maximum(x, y), ~(x > 0), x.masked_fill(x < 0, 2.0)],
    "whole numbers": lambda x, y: [(x * 100).long() * -7046029254386353131 >> 3 ^ 5, (x * 100).long() & 0xFF],
    "tables": lambda x, y: [y[(x > 0).long()[0], (x > 1).long()[0]], y.gather(1, (x > 0).long())],
    "products": lambda x, y: [torch.bmm(x.unsqueeze(0), y.T.unsqueeze(0)), torch.cat((x, y), 1), torch.stack((x, y))],
}


def _written(x, y):
    whole = torch.empty(2, 3)
    whole[:, 0] = x[:, 1]
    torch.mul(x[:, 1:], y[:, 1:], out=whole[:, 1:])
    return whole.diagonal() + 1.0, whole


@needs_compiler
def test_every_kind_of_operation_is_the_same_in_c():
    """All in one function, so that the compiler is asked once."""
    import ctypes

    def computation(x, y):
        found = [one for case in CASES.values() for one in case(x, y)]
        flat = [part for one in found for part in (one if isinstance(one, tuple) else (one,))]
        return [one.clone() for one in flat]

    x, y = (torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = computation(x, y)
    recorder, outputs = record(computation, {"f+0": x, "f+6": y})
    names = np.concatenate([one.ravel() for one in outputs])
    lines = [*recorder.lines, *(f"o[{place}]=(double)({name});" for place, name in enumerate(names))]
    library = native._built("\n".join([native.PREAMBLE, "void step(const float *f, double *o) {", *lines, "}"]))
    given, told = torch.cat((x.flatten(), y.flatten())).numpy(), np.zeros(len(names))
    library.step(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(told.ctypes.data))
    np.testing.assert_allclose(
        told, np.concatenate([one.double().numpy().ravel() for one in expected]), rtol=1e-5, atol=1e-6
    )
