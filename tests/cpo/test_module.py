"""What an update learns from: units, statistics, limits; and what it leaves when it fails."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from lit_models import CPO, load
from lit_models.cpo.on_policy import InfeasibleLimitError, OnPolicy

from ..nested import merged
from .tiny import fit, make, make_trainer


class Watch(Callback):
    """Keeps the samples of each update and what was logged."""

    def __init__(self):
        self.samples, self.logged = [], []

    def on_fit_start(self, trainer, module):
        update = module.update_policy
        module.update_policy = lambda samples: self.samples.append(samples) or update(samples)

    def on_train_batch_end(self, trainer, module, *_):
        self.logged.append({name: float(value) for name, value in module.latest_step.items()})


def weights(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def test_one_update_is_one_step_of_the_trainer(tmp_path):
    _, trainer = fit(tmp_path, updates=4, epochs=2)
    assert trainer.global_step == 8


def test_the_gap_is_in_cost_a_step_and_the_limit_in_cost_an_episode(tmp_path):
    watch = Watch()
    fit(tmp_path, watch)
    for samples, logged in zip(watch.samples, watch.logged, strict=True):
        expected = (logged["train/cost_cost0"] - 8.7) / logged["train/length"]
        assert samples.gaps[0] == pytest.approx(expected, rel=1e-5)
        assert samples.episode_length == pytest.approx(logged["train/length"])
        assert logged["train/cost_cost0/limit"] == pytest.approx(8.7)


def test_the_estimated_episode_cost_is_that_of_whole_episodes(tmp_path):
    """With a policy that stays as it is, mean cost a step times mean length is the mean cost of an episode."""
    watch = Watch()
    module, _ = fit(tmp_path, watch, updates=60, data={"num_envs": 128}, trust_region={"target_kl": 1e-12})
    env = make(data={"num_envs": 128})[1]._one().env
    with torch.no_grad():
        policy = module.policy(module.observation_moments(torch.eye(6))).location.exp().double().numpy()
    value, cost = env.evaluate(policy / policy.sum(1, keepdims=True))
    late = watch.logged[20:]
    assert np.mean([row["train/cost_cost0"] for row in late]) == pytest.approx(cost[0], rel=0.03)
    assert np.mean([row["train/return"] for row in late]) == pytest.approx(value, rel=0.03)


def test_reward_advantages_are_standardised_and_cost_advantages_only_centred(tmp_path):
    watch = Watch()
    fit(tmp_path, watch, data={"env_kwargs": {"constraints": 2}}, cost_limits={"cost1": 5.0})
    samples = watch.samples[-1]
    assert samples.reward_advantage.mean().abs() < 1e-4
    assert samples.reward_advantage.std() == pytest.approx(1.0, abs=1e-2)
    assert samples.cost_advantages.shape[1] == 1  # the limited one
    assert samples.cost_advantages.mean().abs() < 1e-4
    assert abs(samples.cost_advantages.std() - 1.0) > 0.05


def test_the_margin_tightens_the_limit(tmp_path):
    gaps = []
    for margin in (0.0, 0.5):
        watch = Watch()
        fit(tmp_path, watch, updates=1, margin={"share": margin})
        gaps.append(watch.samples[0].gaps[0] * watch.samples[0].episode_length)
    assert gaps[1] - gaps[0] == pytest.approx(0.5 * 8.7, rel=1e-5)


def test_the_learned_margin_follows_the_excess_and_is_never_negative(tmp_path):
    watch = Watch()
    fit(tmp_path, watch, updates=20, cost_limits={"cost0": 11.0}, margin={"lr": 0.5})
    margin = 0.0
    for samples, logged in zip(watch.samples, watch.logged, strict=True):
        excess = logged["train/cost_cost0"] - 11.0
        margin = min(max(0.0, margin + 0.5 * excess), 11.0 / 4)
        assert logged["train/margin_cost0"] == pytest.approx(margin, abs=1e-4)
        assert samples.gaps[0] * samples.episode_length == pytest.approx(excess + margin, abs=1e-4)
    margins = [row["train/margin_cost0"] for row in watch.logged]
    assert max(margins) > 0.0
    assert margins[-1] < max(margins)  # it shrinks where the cost is below the limit


def test_the_logged_kl_is_the_kl_of_the_policies(tmp_path):
    class Compare(Watch):
        def on_train_batch_end(self, trainer, module, *_):
            super().on_train_batch_end(trainer, module)
            samples = self.samples[-1]
            with torch.no_grad():
                new = module.policy(samples.observation)
                kl = float(module.policy.kl(samples.old, new).mean())
            assert self.logged[-1]["train/kl"] == pytest.approx(kl, abs=1e-6)
            assert kl <= 0.01 * 1.001

    watch = Compare()
    fit(tmp_path, watch, updates=5)
    assert len(watch.logged) == 5


def test_without_limits_it_is_trpo(tmp_path):
    watch = Watch()
    module, _ = fit(tmp_path, watch, updates=15, cost_limits={})
    assert all(row["train/case"] == 0.0 for row in watch.logged)
    assert watch.logged[-1]["train/return"] > watch.logged[0]["train/return"] + 1.0
    assert isinstance(module, OnPolicy)


def test_a_limit_turns_the_same_run_to_lower_costs(tmp_path):
    free, bound = Watch(), Watch()
    fit(tmp_path, free, updates=25, cost_limits={})
    fit(tmp_path, bound, updates=25, cost_limits={"cost0": 7.8})
    assert bound.logged[-1]["train/cost_cost0"] < free.logged[-1]["train/cost_cost0"] - 1.0


def test_statistics_are_frozen_during_an_update_and_merged_after_it(tmp_path):
    class Frozen(Watch):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            self.before = module.observation_moments.count.clone()

        def on_train_batch_end(self, trainer, module, *_):
            assert module.observation_moments.count - self.before == 32 * 16

    module, _ = fit(tmp_path, Frozen())
    assert module.observation_moments.count == 3 * 32 * 16


def test_rescaling_the_critics_changes_no_value(tmp_path):
    module, rollouts = make()
    trainer = make_trainer(tmp_path)
    trainer.fit(module, rollouts)
    observation = torch.randn(5, 6)
    before = module._values(observation)
    module._rescale_critics(100.0 * torch.randn(50, 2) + 7.0)
    torch.testing.assert_close(module._values(observation), before, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["CPO", "PPOLagrangian"])
def test_an_update_that_fails_at_its_end_leaves_everything_as_it_was(name, tmp_path):
    class Remember(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            self.weights = {key: value.clone() for key, value in module.state_dict().items()}
            self.optimizers = repr([optimizer.state_dict() for optimizer in trainer.optimizers])

    module, rollouts = make(name, updates=4)
    fit_critics, remember, calls = module._fit_critics, Remember(), []

    def fail(*arguments):
        report = fit_critics(*arguments)
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("at the end of an update")
        return report

    module._fit_critics = fail
    trainer = make_trainer(tmp_path, remember)
    with pytest.raises(KeyError, match="at the end"):
        trainer.fit(module, rollouts)
    assert all(torch.equal(value, remember.weights[key]) for key, value in module.state_dict().items())
    assert repr([optimizer.state_dict() for optimizer in trainer.optimizers]) == remember.optimizers
    assert all(p.dtype == torch.float32 for p in module.parameters())


def test_a_non_finite_observation_stops_before_the_weights_change(tmp_path):
    module, rollouts = make(updates=3)
    observe = rollouts._one().env.__class__.observe
    before = weights(module)

    def spoiled(self, state):
        observation = observe(self, state)
        observation[2 % len(observation), 0] = float("nan")
        return observation

    rollouts._one().env.__class__.observe = spoiled
    try:
        with pytest.raises(ValueError, match=r"non-finite observation at step 0 .* row 2"):
            make_trainer(tmp_path).fit(module, rollouts)
    finally:
        rollouts._one().env.__class__.observe = observe
    assert torch.equal(weights(module), before)


def test_a_limit_that_no_policy_keeps_is_reported_with_what_was_reached(tmp_path):
    with pytest.raises(InfeasibleLimitError, match=r"cost0.*> 0\.1.*Raise cost_limits"):
        fit(tmp_path, updates=400, cost_limits={"cost0": 0.1}, recovery_patience=5)


def test_a_limit_on_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match=r"\['clearance'\].*\['cost0'\]"):
        make(cost_limits={"clearance": 1.0})


def test_too_few_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match="2 samples and needs at least 3"):
        fit(tmp_path, data={"num_envs": 2, "rollout_length": 1}, trust_region={"fisher_fraction": 1.0})


def test_a_fraction_of_nothing_is_refused():
    with pytest.raises(ValueError, match="fisher_fraction=0"):
        make(trust_region={"fisher_fraction": 0.0})


def test_a_plateau_schedule_is_refused(tmp_path):
    with pytest.raises(ValueError, match="plateau"):
        fit(tmp_path, schedule={"name": "plateau"})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("discounts", {"gamma": 0.5}),
        ("discounts", {"gae_lambda": 0.1}),
        ("discounts", {"cost_gamma": 0.5}),
        ("discounts", {"cost_gae_lambda": 0.1}),
        ("critics", {"passes": 1}),
        ("critics", {"batch": 64}),
        ("trust_region", {"fisher_fraction": 1.0}),
        ("trust_region", {"target_kl": 0.001}),
        ("trust_region", {"damping": 2.0}),
        ("trust_region", {"cg_iterations": 1}),
        ("trust_region", {"cg_tolerance": 0.9}),
        ("trust_region", {"corrections": 0}),
        ("margin", {"share": 0.5}),
        ("margin", {"lr": 0.5}),
        ("optimizer", {"lr": 0.1}),
        ("schedule", {"name": "linear"}),
        ("seed", 3),
    ],
)
def test_every_option_changes_the_run(option, value, tmp_path):
    base, _ = fit(tmp_path, updates=2, cost_limits={"cost0": 12.0})
    changed, _ = fit(tmp_path, updates=2, cost_limits={"cost0": 12.0}, **{option: value})
    assert not torch.equal(weights(base), weights(changed))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("policy_steps", {"lr": 0.01}),
        ("policy_steps", {"clip": 0.01}),
        ("policy_steps", {"passes": 1}),
        ("policy_steps", {"batch": 64}),
        ("policy_steps", {"target_kl": 1e-9}),
        ("multipliers", {"lr": 10.0}),
        ("multipliers", {"start": 5.0}),
    ],
)
def test_every_option_of_the_rival_changes_the_run(option, value, tmp_path):
    base, _ = fit(tmp_path, name="PPOLagrangian", updates=3, policy_steps={"lr": 3e-3})
    changed, _ = fit(
        tmp_path, name="PPOLagrangian", updates=3, **merged({"policy_steps": {"lr": 3e-3}}, {option: value})
    )
    assert not torch.equal(weights(base), weights(changed))


def test_the_rival_prices_a_cost_above_its_limit_and_not_one_below(tmp_path):
    above, below = Watch(), Watch()
    fit(tmp_path, above, name="PPOLagrangian", updates=6, cost_limits={"cost0": 6.0})
    fit(tmp_path, below, name="PPOLagrangian", updates=6, cost_limits={"cost0": 60.0})
    prices = [row["train/multiplier_cost0"] for row in above.logged]
    assert prices == sorted(prices)
    assert prices[-1] > prices[0] > 0.0
    assert below.logged[-1]["train/multiplier_cost0"] == 0.0


def test_acting_is_seeded_and_the_likeliest_action_needs_no_seed():
    module, _ = make(network={"log_std": 0.0})
    observation = torch.eye(6).repeat(20, 1)
    assert torch.equal(module.act(observation, seed=1), module.act(observation, seed=1))
    assert not torch.equal(module.act(observation, seed=1), module.act(observation, seed=2))
    likeliest = module.policy(module.observation_moments(observation)).location.argmax(-1)
    assert torch.equal(module.act(observation), likeliest)


def test_a_deterministic_evaluation_takes_the_likeliest_actions(tmp_path):
    returns = []
    for deterministic in (False, True):
        module, rollouts = make(deterministic=deterministic)
        (results,) = make_trainer(tmp_path).validate(module, rollouts, verbose=False)
        returns.append(results["val/return"])
    assert returns[0] != returns[1]


def test_a_test_shows_limits_and_baselines_beside_the_policy(tmp_path):
    module, rollouts = make()
    (results,) = make_trainer(tmp_path).test(module, rollouts, verbose=False)
    for row in ("", "/low", "/high", "/limit", "/zero", "/random"):
        assert f"test/cost_cost0{row}" in results
    assert results["test/cost_cost0/low"] < results["test/cost_cost0"] < results["test/cost_cost0/high"]


def test_a_resumed_run_takes_a_changed_radius(tmp_path):
    module, rollouts = make()
    trainer = make_trainer(tmp_path)
    trainer.fit(module, rollouts)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    changed, rollouts = make(trust_region={"target_kl": 0.002, "damping": 0.5}, optimizer={"lr": 0.01})
    trainer = make_trainer(tmp_path, max_epochs=2)
    trainer.fit(changed, rollouts, ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    critics, policy = trainer.optimizers
    assert policy.param_groups[0]["lr"] == pytest.approx(0.002)
    assert policy.settings.damping == 0.5
    assert critics.param_groups[0]["lr"] == pytest.approx(0.01)
    assert isinstance(load(tmp_path / "end.ckpt"), CPO)
