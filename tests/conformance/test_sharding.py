"""FSDP2 and ZeRO on two processes give the numbers of one, and each goes on from a checkpoint of the other."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

import lit_models
from lit_models.core import sharding
from lit_models.core.muon import MuonWithAdamW

from .cases import make, make_trainer
from .registry import REGISTRY
from .test_processes import numbers, require_equal

SHARDED = sorted(name for name in REGISTRY if getattr(lit_models, name).entries)
FSDP2 = ("--trainer.strategy=fsdp2", "--trainer.devices=2")
ZERO = ("-c", "trainer/zero")  # strategy ddp, two devices
AVERAGE = "--trainer.callbacks+=EMAWeights"


@pytest.mark.parametrize("name", SHARDED)
def test_shards_equal_one_process_and_checkpoints_go_both_ways(name, fit):
    half, whole = "--trainer.max_epochs=3", "--trainer.max_epochs=6"  # of five steps
    rarely = "--trainer.check_val_every_n_epoch=3"
    one = fit(name, "one", AVERAGE, rarely, whole)
    two = fit(name, "two", AVERAGE, rarely, whole, *FSDP2, processes=2)
    require_equal(two, one)
    assert numbers(two[1]["train/loss"]) == pytest.approx(numbers(one[1]["train/loss"]), rel=1e-5, nan_ok=True)
    fit(name, "shards", AVERAGE, rarely, half, *FSDP2, processes=2)
    require_equal(fit(name, "shards", AVERAGE, rarely, whole, "--ckpt_path=last"), one)
    fit(name, "single", AVERAGE, rarely, half)
    require_equal(fit(name, "single", AVERAGE, rarely, whole, "--ckpt_path=last", *FSDP2, processes=2), one)


class Moments(Callback):
    """Writes down how many numbers this process keeps for its optimiser."""

    def on_train_end(self, trainer, pl_module):
        optimizer = trainer.optimizers[0]
        state = getattr(optimizer, "optim", optimizer).state  # the one inside holds the share
        kept = sum(each.numel() for moments in state.values() for each in moments.values() if each.dim())
        twice = sum(len(moments) for moments in optimizer.state.values()) if hasattr(optimizer, "optim") else 0
        found = {"kept": kept, "twice": twice, "parameters": sum(each.numel() for each in pl_module.parameters())}
        Path(trainer.log_dir, f"moments_{trainer.global_rank}.json").write_text(json.dumps(found))


AT_STEP_5 = {"filename": "{step}", "every_n_train_steps": 5, "save_top_k": -1}
"""The last of an epoch."""


def test_each_process_keeps_half_of_the_optimiser_and_checkpoints_are_whole(fit, tmp_path):
    counting = f"--trainer.callbacks+={__name__}.Moments"
    saving = json.dumps({"class_path": "ModelCheckpoint", "init_args": AT_STEP_5})
    ddp = ("--trainer.strategy=ddp", "--trainer.devices=2", f"--trainer.callbacks+={saving}")
    whole = fit("MDLMDiT", "ddp", AVERAGE, "--trainer.max_epochs=3", *ddp, processes=2)

    def go_on(epochs, *options):
        longer, processes = f"--trainer.max_epochs={epochs}", 2 if "trainer/zero" in options else 1
        return fit("MDLMDiT", "zero", AVERAGE, counting, longer, *options, processes=processes)

    go_on(1, *ZERO)
    saved = [("ddp", "step=5.ckpt"), ("zero", "last.ckpt")]
    plain, zero = (
        torch.load(tmp_path / run / "version_0" / "checkpoints" / name, weights_only=True) for run, name in saved
    )
    torch.testing.assert_close(zero["state_dict"], plain["state_dict"], rtol=0, atol=1e-6)
    moments = [each["optimizer_states"][0]["state"] for each in (zero, plain)]
    torch.testing.assert_close(*moments, rtol=0, atol=1e-6)
    shares = [json.loads(path.read_text()) for path in (tmp_path / "zero" / "version_0").glob("moments_*.json")]
    assert all(0.4 < share["kept"] / (2 * share["parameters"]) < 0.6 for share in shares)
    assert sum(share["kept"] for share in shares) == 2 * shares[0]["parameters"]

    go_on(2, "--ckpt_path=last")  # one process, which has nobody to share with
    require_equal(go_on(3, "--ckpt_path=last", *ZERO), whole)
    shares = [json.loads(path.read_text()) for path in (tmp_path / "zero" / "version_0").glob("moments_*.json")]
    assert sum(share["kept"] for share in shares) == 2 * shares[0]["parameters"]
    assert not any(share["twice"] for share in shares)


@pytest.mark.parametrize("name", ["MDLMDiT", "CPO"])
def test_only_ddp_has_an_optimiser_to_shard(name, tmp_path):
    module, _ = make(name, optimizer={"sharded": True})
    module.trainer = make_trainer(tmp_path, ema=False)
    assert type(module.make_optimizer(module)) is torch.optim.AdamW
    module.trainer.strategy.world_size = 2
    with pytest.raises(ValueError, match=r"trainer\.strategy=ddp"):
        module.make_optimizer(module)


def test_muon_needs_whole_matrices(tmp_path):
    module, _ = make("MDLMDiT", optimizer={"name": "muon"})
    module.trainer = make_trainer(tmp_path, ema=False)
    assert type(module.make_optimizer(module)) is MuonWithAdamW
    module.trainer.strategy.__class__ = sharding.FSDP2Strategy
    with pytest.raises(ValueError, match=r"optimizer.name='muon'.*trainer\.strategy=ddp"):
        module.make_optimizer(module)


@pytest.mark.parametrize("name", SHARDED)
def test_recomputed_activations_take_less_memory_and_give_the_same_gradients(name, tmp_path):
    gradients, kept = [], []
    for recompute in (False, True):
        module, data = make(name, activation_checkpointing=recompute)
        sizes: list[int] = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer = make_trainer(tmp_path, ema=False, max_steps=1, limit_val_batches=0, enable_checkpointing=False)
            trainer.fit(module, data)
        gradients.append({key: value.clone() for key, value in module.state_dict().items()})
        kept.append(sum(sizes))
    assert sharding.repeated_blocks(module)
    assert kept[1] < kept[0]
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-5, atol=1e-7, msg=key)


def test_other_algorithms_refuse_to_be_sharded(tmp_path):
    module, _ = make("CPO")
    trainer = make_trainer(tmp_path, ema=False)
    module.trainer = trainer
    trainer.strategy.__class__ = lit_models.core.sharding.FSDP2Strategy
    with pytest.raises(TypeError, match="strategy=ddp"):
        module.configure_model()
