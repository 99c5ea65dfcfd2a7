import pytest
import torch
from lightning.pytorch import Trainer

import datamodules
import lit_models
from lit_models.state_action.costs import Joystick

from ..nested import merged

torch.set_num_threads(1)
TINY = {"network": {"hidden_size": 16, "num_layers": 1, "num_heads": 2}, "process": {"num_train_timesteps": 5}}
HISTORY, HORIZON = 2, 6


@pytest.fixture(scope="module")
def data():
    return datamodules.Trajectories(
        episodes=9,
        episode_seconds=4.0,
        history=HISTORY,
        horizon=HORIZON,
        val=0.2,
        test=0.2,
        task_episodes=2,
        batch_size=16,
        steps_per_epoch=80,
    )


def make(data, **changes):
    torch.manual_seed(0)
    return lit_models.StateActionDDPM(data.layout, HISTORY, HORIZON, data.statistics, **merged(TINY, changes))


def window(data, rows=3):
    return data.split("test").__getitems__([(row, 0) for row in range(rows)])


def trainer(folder, **changes):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", default_root_dir=folder, max_epochs=1, num_sanity_val_steps=0, **quiet | changes)


def logged(module, data, folder, stage="validate"):
    run = trainer(folder)
    getattr(run, stage)(module, data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


def test_it_takes_the_statistics_of_the_data_and_keeps_them(data, tmp_path):
    module = lit_models.StateActionDDPM(data.layout, HISTORY, HORIZON, **TINY)
    run = trainer(tmp_path, limit_train_batches=1, limit_val_batches=0)
    with pytest.raises(ValueError, match=r"StateActionDDPM\(statistics=None\): in which units"):
        run.fit(module, data)
    module = make(data)
    run.fit(module, data)
    torch.testing.assert_close(module.normalizer.states.std, torch.tensor(data.statistics["state_std"]))
    run.save_checkpoint(tmp_path / "end.ckpt")
    loaded = lit_models.load(tmp_path / "end.ckpt")
    batch = window(data)
    plans = [m.plan(batch.states, batch.actions, seed=3) for m in (module, loaded)]
    assert torch.equal(plans[0].states, plans[1].states)


def test_a_plan_begins_with_the_past_and_is_a_function_of_its_seed(data):
    module, batch = make(data), window(data)
    plan = module.plan(batch.states[:, : HISTORY + 1], batch.actions[:, :HISTORY], num_samples=2)
    assert plan.states.shape == (2, *batch.states.shape)
    assert plan.actions.shape == (2, *batch.actions.shape)
    assert torch.equal(plan.states[0, :, : HISTORY + 1], batch.states[:, : HISTORY + 1])
    assert (plan.states[0] - plan.states[1]).abs().max() > 1e-3
    again = module.plan(batch.states, batch.actions, num_samples=2)
    assert torch.equal(plan.actions, again.actions)
    other = module.plan(batch.states, batch.actions, seed=1)
    assert (other.states[0] - plan.states[0]).abs().max() > 1e-3


def test_a_guide_comes_as_a_cost_or_as_yaml_writes_it(data):
    module, batch = make(data), window(data)
    cost = Joystick(module.layout, HISTORY, velocity=[0.8, 0.0], weight=5.0)
    free, steered = (module.plan(batch.states, batch.actions, guide=guide) for guide in (None, cost))
    written = module.plan(
        batch.states, batch.actions, guide=[{"cost": "joystick", "velocity": [0.8, 0.0], "weight": 5.0}]
    )
    assert torch.equal(steered.states, written.states)
    assert (cost(steered.states[0], steered.actions[0]) < cost(free.states[0], free.actions[0])).all()


def test_training_learns_what_comes_next(data, tmp_path):
    module = make(data, optimizer={"lr": 3e-3}, network={"hidden_size": 32})
    before = logged(module, data, tmp_path)
    trainer(tmp_path, limit_val_batches=0).fit(module, data)
    after = logged(module, data, tmp_path)
    assert after["val/loss"] < 0.7 * before["val/loss"]
    assert after["val/state_mse"] < 0.7 * before["val/state_mse"]
    assert after["val/state_mse"] < after["val/state_mse/noise"]
    assert after["val/state_mse/ground_truth"] == 0
    assert after["val/trajectory_smoothness/ground_truth"] > 0


def test_the_test_tries_every_task_beside_the_expert(data, tmp_path):
    found = logged(make(data), data, tmp_path, "test")
    for task in ("joystick", "waypoint", "forest"):
        assert found[f"test/{task}_success/expert"] == 1.0
        assert found[f"test/{task}_success/zero"] == 0.0
        assert 0 <= found[f"test/{task}_success"] <= found[f"test/{task}_success/high"]


def test_a_guide_adds_a_row_whose_cost_is_lower(data, tmp_path):
    guide = [{"cost": "joystick", "velocity": [0.8, 0.0], "weight": 5.0}]
    found = logged(make(data, guide=guide), data, tmp_path)
    assert found["val/guide_cost/guided"] < found["val/guide_cost"]
    assert "val/state_mse/guided" in found
    assert "val/guide_cost" not in logged(make(data), data, tmp_path)


def test_the_policy_of_a_row_does_not_depend_on_its_neighbours(data):
    seen = []

    def watch(history, task):
        seen.append((history, task))
        return torch.zeros(len(history.states), 4, 3)

    data.rollout(watch, "test")
    history, task = next((h, t) for h, t in seen if t.kind == "forest")
    module = make(data)
    whole = module.policy()(history, task)
    assert whole.shape == (2, HORIZON + 1, 3)
    row = slice(1, 2)
    alone = module.policy()(
        history._replace(states=history.states[row], actions=history.actions[row], episode=history.episode[row]),
        task._replace(waypoint=task.waypoint[row], obstacles=task.obstacles[row]),
    )
    torch.testing.assert_close(whole[row], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"attention": "full"}},
        {"network": {"mlp_ratio": 2.0}},
        {"network": {"dropout": 0.5}},
        {"process": {"num_train_timesteps": 8}},
        {"process": {"beta_schedule": "linear"}},
        {"process": {"action_beta_schedule": "sigmoid"}},
        {"process": {"prediction_type": "v_prediction"}},
        {"objective": {"loss_weighting": "min_snr"}},
        {"objective": {"loss_weighting": "min_snr", "snr_gamma": 1.0}},
        {"objective": {"level_sampling": "shared"}},
        {"objective": {"clean_history": 1.0}},
        {"objective": {"action_horizon": 2}},
        {"objective": {"state_weight": 2.0}},
        {"objective": {"action_weight": 2.0}},
        {"emphasis": 6.0},
        {"emphasis": 6.0, "mixtures": 3},
    ],
    ids=str,
)
def test_every_flag_of_training_changes_the_weights(data, tmp_path, changes):
    weights = []
    for flags in ({}, changes):
        module = make(data, **flags)
        trainer(tmp_path, limit_train_batches=2, limit_val_batches=0).fit(module, data)
        weights.append(torch.cat([p.detach().flatten()[-8:] for p in module.network.parameters()]))
    assert weights[0].shape != weights[1].shape or (weights[0] - weights[1]).abs().max() > 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": {"sampler": "ddpm"}},
        {"sampling": {"sampler": "ddpm", "options": {"variance_type": "fixed_large"}}},
        {"sampling": {"sampler": "dpm_solver", "steps": 3}},
        {"sampling": {"steps": 2}},
        {"sampling": {"timestep_spacing": "log_snr"}},
        {"sampling": {"options": {"eta": 1.0}}},
        {"guidance": {"strength": 5.0}},
        {"guidance": {"gradient": "model"}},
    ],
    ids=str,
)
def test_every_flag_of_planning_changes_the_plan(data, changes):
    batch, few = window(data), {"sampling": {"steps": 3}} if "timestep_spacing" in changes.get("sampling", {}) else {}
    guide = [{"cost": "joystick", "velocity": [0.8, 0.0]}]
    plans = [
        make(data, **merged(few, flags)).plan(batch.states, batch.actions, guide).states for flags in ({}, changes)
    ]
    assert (plans[0] - plans[1]).abs().max() > 1e-4


def test_every_flag_of_the_evaluation_changes_it(data, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "tasks", ["waypoint"])
    several, single = (logged(make(data, eval_samples=samples), data, tmp_path) for samples in (3, 1))
    for name in ("val/diversity", "val/min_ade", "val/state_mse/mean_plan"):
        assert name in several
        assert name not in single
    assert several["val/min_ade"] < several["val/ade"]
    assert several["val/state_mse/mean_plan"] < several["val/state_mse"]  # by Jensen's inequality
    calls = {}
    for every in (2, 4):
        module, count = make(data, closed_loop={"replan_every": every}), []
        act = module.policy()
        data.rollout(lambda history, task, act=act, count=count: count.append(1) or act(history, task), "test", every)
        calls[every] = len(count)
    assert calls[2] == pytest.approx(2 * calls[4], rel=0.2)


def test_rolling_plans_with_fewer_evaluations(data, monkeypatch):
    monkeypatch.setattr(data, "tasks", ["joystick"])
    calls = {}
    for rolling in (None, [2, 1], "ramp"):
        module = make(data, closed_loop={"rolling": rolling, "replan_every": 1}, guidance={"strength": 0.0})
        count = calls[str(rolling)] = []
        module.network.register_forward_hook(lambda *_, count=count: count.append(1))
        found = data.rollout(module.policy(), "test", 1)
        assert found["joystick"].error.isfinite().all()
    assert len(calls["[2, 1]"]) < 0.5 * len(calls["None"])  # 2 of 5 levels, but for the first plan
    assert len(calls["ramp"]) < 0.25 * len(calls["None"])  # 1 of 5, but for the first plan


def test_options_of_a_task_change_what_it_does(data):
    seen = []
    data.rollout(lambda h, t: seen.append((h, t)) or torch.zeros(2, 4, 3), "test")
    history, task = next((h, t) for h, t in seen if t.kind == "joystick")
    options = (None, {"joystick": {"joystick": {"weight": 9.0}}})
    plans = [make(data, closed_loop={"task_options": option}).policy()(history, task) for option in options]
    assert (plans[0] - plans[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"task_options.joystick has waypoint; there are joystick and ahead"):
        make(data, closed_loop={"task_options": {"joystick": {"waypoint": {}}}}).policy()(history, task)
    history, task = next((h, t) for h, t in seen if t.kind == "forest")
    ahead, far = ({"forest": {"ahead": metres}} for metres in (0.5, 2.0))
    plans = [make(data, closed_loop={"task_options": option}).policy()(history, task) for option in (ahead, far)]
    assert (plans[0] - plans[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guide": [{"cost": "joystik", "velocity": [1, 0]}]}, "joystick"),
        ({"guide": [{"cost": "keyframe", "values": {"joint_pos": [0.0]}}]}, "keyframe"),
        ({"guidance": {"strength": -1}}, "strength=-1"),
        ({"sampling": {"sampler": "euler"}}, r"sampling\.sampler.*'ddim'.*euler"),
        ({"sampling": {"timestep_spacing": "karras"}}, r"sampling\.timestep_spacing.*log_snr.*karras"),
        ({"closed_loop": {"rolling": [9, 1], "replan_every": 1}}, r"rolling=\(9, 1\).*levels of 1 to 5"),
        ({"closed_loop": {"rolling": "ramp"}}, "rolling by 4 steps a tick needs as many steps of the past; there are"),
        ({"layout": {"root": None}}, "layout lacks"),
    ],
)
def test_bad_settings_say_what_to_write(data, changes, message):
    settings = {"layout": data.layout, "history": HISTORY, "horizon": HORIZON} | merged(TINY, changes)
    with pytest.raises(ValueError, match=message):
        lit_models.StateActionDDPM(**settings)
