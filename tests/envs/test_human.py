"""Each filter of the human against its closed form; the human as a whole against the laws of the base."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.signal import periodogram
from scipy.stats import chisquare, kstest

from datamodules.envs.human import IMPAIRMENTS, Human
from datamodules.envs.impairments import HEALTHY, SLOPES, Profile, profile

torch.set_num_threads(1)
DT = 0.02
NEUTRAL = {"strength": 1.0, "reach": 1.0}  # all others 0
CHAIN, GAIN, SIDE = 0, 1, 2  # rows of human_channel


def start(n, impairment="none", severity=1.0, channels=2, dt=DT, only=(), **kwargs):
    """A human whose filters other than the delay and those named in ``only`` do nothing."""
    human = Human(channels, dt, impairment, severity, **kwargs)
    key = torch.arange(n) * 7919
    state = human.begin(key) | {"key": key, "elapsed": torch.zeros(n, dtype=torch.int64)}
    if only != "all":
        state["human_profile"] = state["human_profile"].clone()
        for row, name in enumerate(Profile._fields):
            if name not in only:
                state["human_profile"][row] = NEUTRAL.get(name, 0.0)
        if "dysmetria" not in only:
            state["human_channel"][GAIN] = 1.0
        if "paresis" not in only:
            state["human_channel"][SIDE] = 1.0
        if "fatigue_start" not in only:
            state["human_fatigue"].zero_()
    return human, state


def live(human, state, intent, steps, assistance=0.0, place=None):
    """(steps, C, n) commands, and the last state."""
    n = len(state["key"])
    commands = []
    for t in range(steps):
        now = intent(t) if callable(intent) else intent
        command, new = human.act(state, torch.full((human.channels, n), now), torch.full((n,), assistance), place)
        state = state | new | {"elapsed": state["elapsed"] + 1}
        commands.append(command)
    return torch.stack(commands), state


# ------------------------------------------------------------------ the tables
@pytest.mark.parametrize("kind", IMPAIRMENTS)
def test_severity_0_of_every_kind_is_healthy_and_1_is_the_table(kind):
    index = torch.tensor([IMPAIRMENTS.index(kind)])
    none, full = profile(index, torch.zeros(1)), profile(index, torch.ones(1))
    for name, low, high in zip(Profile._fields, none, full, strict=True):
        assert low.item() == pytest.approx(HEALTHY.get(name, 0.0))
        assert high.item() == pytest.approx(HEALTHY.get(name, 0.0) + SLOPES[kind].get(name, 0.0))


def test_severity_0_acts_as_a_healthy_human():
    healthy = live(*start(8, "none", only="all"), 0.5, 50)[0]
    for kind in IMPAIRMENTS[1:]:
        torch.testing.assert_close(live(*start(8, kind, 0.0, only="all"), 0.5, 50)[0], healthy)


def test_delays_of_the_five_levels():
    delays = profile(torch.full((5,), IMPAIRMENTS.index("ataxia")), torch.linspace(0, 1, 5)).delay
    torch.testing.assert_close(delays, torch.tensor([0.15, 0.20, 0.30, 0.40, 0.55]), atol=0.015, rtol=0.0)


# ------------------------------------------------------------------ the filters, one by one
@pytest.mark.parametrize(("dt", "severity"), [(0.01, 0.0), (0.01, 1.0), (0.02, 0.5), (0.05, 0.0), (0.05, 1.0)])
def test_reaction_delay_is_late_by_its_mean(dt, severity):
    commands, state = live(*start(3, "ataxia", severity, dt=dt), 1.0, int(4.0 / dt))
    late = (1.0 - commands).sum(0) * dt  # the mean of a delay is the area above its step response
    wanted = profile(state["human_kind"], state["human_severity"]).delay
    torch.testing.assert_close(late, wanted.expand(2, 3), atol=1e-3, rtol=0.0)
    assert (commands.diff(dim=0) >= -1e-6).all()  # no overshoot
    assert commands[0].max() < 0.1 or dt == 0.05


def test_weakness_is_a_gain():
    commands, _ = live(*start(2, "weakness", 0.8, only=("strength",)), 0.5, 200)
    torch.testing.assert_close(commands[-1], torch.full((2, 2), 0.5 * (1 - 0.7 * 0.8)))


def test_range_loss_without_and_with_a_position():
    human, state = start(5, "hemiplegia", 1.0, only=("reach",))  # reach 0.7
    assert live(human, state, 1.0, 100)[0][-1].max() == pytest.approx(0.7)
    place = torch.tensor([-1.0, 0.0, 0.7, 0.8, 0.9]).expand(2, 5)
    outward, inward = (
        live(human, state, 1.0, 100, place=place)[0][-1],
        live(human, state, -1.0, 100, place=place)[0][-1],
    )
    torch.testing.assert_close(outward[0], torch.tensor([1.0, 1.0, 1.0, 0.5, 0.0]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(inward[0], torch.tensor([0.0, -1.0, -1.0, -1.0, -1.0]), atol=1e-4, rtol=0.0)


def test_noise_grows_with_the_signal_and_is_none_at_rest():
    human, state = start(20000, "ataxia", 1.0, only=("noise",))  # 0.05 + 0.15
    for size in (0.2, 0.4):
        last = live(human, state, size, 80)[0][-1]
        assert last.std() == pytest.approx(0.2 * size, rel=0.03)
        assert last.mean() == pytest.approx(size, abs=0.003)
    assert live(human, state, 0.0, 5)[0].abs().max() == 0.0


def test_ataxia_overshoots_has_a_wrong_gain_and_wanders():
    human, state = start(4, "ataxia", 1.0, only=("overshoot",))
    commands, _ = live(human, state, 0.5, 300)
    assert commands.max() > 0.55
    torch.testing.assert_close(commands[-1], torch.full((2, 4), 0.5), atol=1e-3, rtol=0.0)
    gains = live(*start(20000, "ataxia", 1.0, only=("dysmetria",)), 0.5, 100)[0][-1] / 0.5
    assert gains.mean() == pytest.approx(1.0, abs=0.01)
    assert 0.25 < gains.std() < 0.3  # 0.3, cut at two deviations
    drift, _ = live(*start(4000, "ataxia", 1.0, only=("wander",)), 0.0, 60)
    assert drift[0].std() == pytest.approx(0.25, rel=0.04)  # from the first step on
    assert drift[-1].std() == pytest.approx(0.25, rel=0.04)
    lag = int(0.6 / DT)
    assert (drift[-1] * drift[-1 - lag]).mean() / 0.0625 == pytest.approx(math.exp(-1.0), abs=0.06)


@pytest.mark.parametrize("severity", [0.3, 0.6])
def test_tremor_has_its_frequency_and_its_amplitude_from_the_first_step_on(severity):
    commands, _ = live(*start(400, "tremor", severity, only=("tremor",)), 0.0, 1000)
    for moment in (commands[:3], commands[-3:]):
        assert moment.std() == pytest.approx(0.4 * severity / math.sqrt(2.0), rel=0.1)
    frequency, power = periodogram(commands[:, 0].numpy(), 1 / DT, axis=0)
    middle = 8.0 - 3.0 * severity
    centres = (frequency[:, None] * power).sum(0) / power.sum(0)
    assert centres.mean() == pytest.approx(middle, abs=0.4)
    assert 0.5 < centres.std() < 1.2  # persons differ by up to 1.5 Hz
    near = np.abs(frequency - middle) < 3.0
    assert power[near].sum() / power.sum() > 0.85  # noise-driven, but narrow


def test_spastic_jerks_are_a_poisson_process_that_decays():
    human, state = start(4000, "spasticity", 0.5, only=("jerk_size", "jerk_rate"))
    commands, state = live(human, state, 0.0, 150)
    rate, size, decay = 0.75, 0.4, math.exp(-DT / 0.25)
    jerks = commands[1:] - decay * commands[:-1]  # what is new
    count = ((jerks.abs() > size / 2) & (commands[1:].abs() < 0.999)).sum(0).float()
    assert count.mean() == pytest.approx(149 * (1 - math.exp(-rate * DT)), rel=0.03)
    assert count.var() / count.mean() == pytest.approx(1.0, abs=0.1)
    assert jerks.sign().mean().abs() < 0.02
    square = size**2 * (1 - math.exp(-rate * DT)) / (1 - decay**2)
    assert commands[-20:].square().mean() == pytest.approx(square, rel=0.1)


def test_hemiplegia_weakens_and_delays_one_side():
    human, state = start(2000, "hemiplegia", 1.0, channels=4, only=("paresis", "paretic_delay"))
    commands, _ = live(human, state, 1.0, 300)
    last = commands[-1]
    torch.testing.assert_close(last[0], last[1])
    torch.testing.assert_close(last[2], last[3])
    left = last[0] < 0.5
    assert left.float().mean() == pytest.approx(0.5, abs=0.05)  # either side
    torch.testing.assert_close(torch.where(left, last[0], last[2]), torch.full((2000,), 0.2))
    torch.testing.assert_close(torch.where(left, last[2], last[0]), torch.ones(2000))
    half = (commands > 0.5 * last).float().argmax(0)  # step at which half of the end is reached
    assert (torch.where(left, half[0] - half[2], half[2] - half[0]) * DT > 0.15).all()
    always = live(*start(20, "hemiplegia", 1.0, only=("paresis",), sides=[0, 0]), 1.0, 300)[0][-1]
    torch.testing.assert_close(always, torch.full((2, 20), 0.2))


def test_fatigue_follows_its_differential_equation_and_takes_strength():
    human, state = start(1, "fatigue", 1.0, only=("fatigue_rate", "fatigue_loss"))
    commands, state = live(human, state, 0.9, 1000)
    rate = 0.005 + 0.25

    def law(t, f):
        effort = (0.9 * (1 - 0.6 * f)) ** 2
        return rate * effort * (1 - f) - 0.02 * f

    wanted = solve_ivp(law, (0.0, 1000 * DT - 0.15), [0.0], rtol=1e-8).y[0, -1]  # effort begins after the delay
    assert state["human_fatigue"].item() == pytest.approx(wanted, abs=0.01)
    assert commands[-1, 0, 0] == pytest.approx(0.9 * (1 - 0.6 * wanted), abs=0.01)
    rested = live(human, state, 0.0, 500)[1]["human_fatigue"]
    assert rested < 0.9 * state["human_fatigue"]


def test_trust_follows_assistance_and_slacks():
    human, state = start(2, "weakness", 1.0, only=("slack",))
    commands, state = live(human, state, 0.8, 250, assistance=0.5)
    wanted = 0.5 * (1 - math.exp(-250 * DT / 5.0))
    torch.testing.assert_close(state["human_trust"], torch.full((2,), wanted))
    assert commands[-1, 0, 0] == pytest.approx(0.8 * (1 - 0.3 * wanted), abs=0.002)
    torch.testing.assert_close(state["human_effort"], commands[-1].square().mean(0))


# ------------------------------------------------------------------ the whole
@pytest.mark.parametrize("kind", IMPAIRMENTS[1:])
def test_more_severe_follows_an_intent_less_well(kind):
    def wave(t):
        return 0.8 * math.sin(2 * math.pi * 0.4 * t * DT)

    errors = []
    for severity in (0.0, 0.5, 1.0):
        commands, _ = live(*start(300, kind, severity, only="all"), wave, 250)
        wanted = torch.tensor([wave(t) for t in range(250)])[:, None, None]
        errors.append((commands - wanted).square().mean().item())
        assert commands.abs().max() <= 1.0
    assert errors[0] * 1.2 < errors[1] < errors[2]


def test_a_human_is_the_same_alone_and_among_others():
    human, state = start(50, "mixed", [0.2, 0.9], only="all")
    together, _ = live(human, state, 0.6, 60, assistance=0.3)
    alone = {name: value[..., 17:18] for name, value in state.items()}
    torch.testing.assert_close(live(human, alone, 0.6, 60, assistance=0.3)[0][..., 0], together[..., 17])


def test_act_changes_nothing_that_it_was_given():
    human, state = start(5, "mixed", [0.0, 1.0], only="all")
    before = {name: value.clone() for name, value in state.items()}
    _, new = human.act(state, torch.ones(2, 5), torch.ones(5))
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert {name for name in state if name.startswith("human_")} == set(new)
    assert all(new[name].shape == state[name].shape for name in new)


def test_mixed_draws_every_kind_and_severities_evenly():
    _, state = start(7000, "mixed", [0.2, 0.6], only="all")
    assert chisquare(state["human_kind"].bincount(minlength=7).numpy()).pvalue > 1e-3
    assert kstest(state["human_severity"].numpy(), "uniform", args=(0.2, 0.4)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"impairment": "sleepy"}, "impairment: 'sleepy'.*hemiplegia"),
        ({"severity": 1.5}, "severity: 1.5"),
        ({"severity": [0.6, 0.2]}, "severity: "),
        ({"sides": [1]}, "sides: "),
    ],
)
def test_errors_name_key_and_remedy(arguments, named):
    with pytest.raises(ValueError, match=named):
        Human(2, DT, **arguments)
