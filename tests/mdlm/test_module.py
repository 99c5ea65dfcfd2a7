import math

import pytest
import torch
from lightning.pytorch import Trainer

from lit_models.core.module import NonFiniteLossError
from lit_models.mdlm.network import END, MASK

from .plans import HORIZON, batch, loader, module


def trainer(**changes):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 1,
    }
    return Trainer(**settings | changes)


def fit(steps=1, **changes):
    model = module(**changes)
    run = trainer()
    run.fit(model, loader([batch()] * steps))
    return run.callback_metrics, model


def test_overfits_one_batch():
    few = batch(4)
    model = module(network={"hidden_size": 32, "num_layers": 2}, objective={"draws_per_plan": 16})
    run = trainer(max_epochs=150)
    run.fit(model, loader([few]))
    with torch.no_grad():
        assert model.eval().evaluate_nelbo(few).mean() < 0.05  # ends at 1e-3 and less: rounding cannot decide
    assert torch.equal(model.plan(few.observation), few.plan)


def test_an_untrained_model_is_the_uniform_policy_at_every_level():
    model = module()
    run = trainer()
    metrics = run.validate(model, loader([batch()]), verbose=False)[0]
    assert metrics["val/nelbo"] == pytest.approx(HORIZON * math.log(8), rel=1e-5)


@pytest.mark.parametrize("corruption", ["mask", "noise"])
def test_evaluation_is_seeded_and_ignores_the_batching(corruption):
    model = module(objective={"corruption": corruption})
    torch.nn.init.normal_(model.network.head.weight)
    whole = batch(8)
    parts = [
        type(whole)(*(type(p)(*(q[i : i + 4] for q in p)) if isinstance(p, tuple) else p[i : i + 4] for p in whole))
        for i in (0, 4)
    ]
    with torch.no_grad():
        once = model.evaluate_nelbo(whole)
        torch.rand(17)
        split = torch.cat([model.evaluate_nelbo(part) for part in parts])
    torch.testing.assert_close(once, split)


def test_few_levels_estimate_the_same_nelbo():
    exact, few = module(), module(objective={"validation_levels": 2})
    torch.nn.init.normal_(exact.network.head.weight, std=0.3)
    few.load_state_dict(exact.state_dict())
    with torch.no_grad():
        reference = exact.evaluate_nelbo(batch(512)).mean()
        assert few.evaluate_nelbo(batch(512)).mean() == pytest.approx(float(reference), rel=0.05)


def test_training_nelbo_is_logged_whatever_the_weight():
    weighted, _ = fit(objective={"loss_weight": "nelbo"})
    uniform, _ = fit(objective={"loss_weight": "uniform"})
    torch.testing.assert_close(weighted["train/nelbo"], uniform["train/nelbo"])
    assert weighted["train/nelbo"] > 0
    assert uniform["train/loss_epoch"] == pytest.approx(math.log(8), rel=1e-5)  # the mean over masked slots
    assert weighted["train/loss_epoch"] != pytest.approx(math.log(8), rel=1e-3)


@pytest.mark.parametrize(
    "flag",
    [
        {"objective": {"corruption": "noise"}},
        {"objective": {"noise_schedule": "maskgit_cosine"}},
        {"objective": {"noise_schedule": "polynomial"}},
        {"objective": {"weight_clip": 1.0}},
        {"objective": {"draws_per_plan": 3}},
        {"network": {"time_conditioning": True}},
        {"network": {"crop_border": True}},
        {"network": {"skip_empty": True}},
        {"network": {"positions": "egocentric"}},
        {"network": {"dropout": 0.5}},
        {"seed": 1},
        {"optimizer": {"lr": 1e-4}},
        {"optimizer": {"weight_decay": 0.5}},
        {"optimizer": {"betas": [0.5, 0.5]}},
        {"network": {"mlp_ratio": 2.0}},
    ],
)
def test_every_training_flag_changes_the_trained_model(flag):
    _, plain = fit(steps=3)
    _, changed = fit(steps=3, **flag)
    ours, theirs = (torch.cat([p.flatten() for p in m.network.head.parameters()]) for m in (plain, changed))
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "flag",
    [
        {"sampling": {"sampler": "ancestral", "steps": 1}},
        {"sampling": {"steps": 1}},
        {"sampling": {"temperature": 2.0}},
    ],
)
def test_every_sampling_flag_changes_a_plan(flag):
    plain, changed = module(), module(**flag)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    changed.load_state_dict(plain.state_dict())
    observation = batch(64).observation
    assert not torch.equal(plain.plan(observation), changed.plan(observation))


def test_a_dictionary_from_the_environment_gives_a_list_of_actions():
    model = module()
    torch.nn.init.constant_(model.network.head.bias, 0.0)
    with torch.no_grad():
        model.network.head.bias[END] = 1.0
    row = batch(1).observation
    assert model.plan({"image": row.image[0].numpy(), "direction": 0, "mission": "reach the goal"}) == []
    with torch.no_grad():
        model.network.head.bias[2] = 2.0
    assert model.plan({"image": row.image[0].numpy(), "direction": 0, "mission": ""}) == [2] * HORIZON


def test_mission_words_reach_the_network():
    model = module(words=["ball", "key"])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    row = batch(1).observation
    plans = {
        tuple(model.plan({"image": row.image[0].numpy(), "direction": 0, "mission": mission}))
        for mission in ("ball", "key", "ball key", "key ball", "key key key")
    }
    assert len(plans) > 1


def test_planning_leaves_the_module_in_its_mode():
    model = module().train()
    model.plan(batch().observation)
    assert model.training


def test_a_non_finite_loss_stops_before_the_weights_change():
    model = module()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    broken = batch()
    with torch.no_grad():
        model.network.slots.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="step 0, batch 0 of epoch 0"):
        trainer().fit(model, loader([broken]))
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if name != "network.slots.weight")


def test_mask_is_an_input_only():
    assert module().network.head.out_features == MASK
