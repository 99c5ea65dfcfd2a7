"""FSDP2 on two processes gives the numbers of one, and either goes on from a checkpoint of the other."""

import pytest
import torch

import lit_models
from lit_models.core import sharding
from lit_models.core.registry import REGISTRY

from .cases import make, make_trainer
from .test_processes import fit, numbers, require_equal

SHARDED = sorted(name for name in REGISTRY if getattr(lit_models, name).entries)
FSDP2 = ("--trainer.strategy=fsdp2", "--trainer.devices=2")
AVERAGE = "--trainer.callbacks+=EMAWeights"


@pytest.mark.parametrize("name", SHARDED)
def test_shards_equal_one_process_and_checkpoints_go_both_ways(name, tmp_path):
    half, whole = "--trainer.max_epochs=5", "--trainer.max_epochs=10"  # of five steps
    rarely = "--trainer.check_val_every_n_epoch=5"
    one = fit(name, tmp_path / "one", AVERAGE, rarely, whole)
    two = fit(name, tmp_path / "two", AVERAGE, rarely, whole, *FSDP2)
    require_equal(two, one)
    assert numbers(two[1]["train/loss"]) == pytest.approx(numbers(one[1]["train/loss"]), rel=1e-5, nan_ok=True)
    fit(name, tmp_path / "shards", AVERAGE, rarely, half, *FSDP2)
    require_equal(fit(name, tmp_path / "shards", AVERAGE, rarely, whole, "--ckpt_path=last"), one)
    fit(name, tmp_path / "single", AVERAGE, rarely, half)
    require_equal(fit(name, tmp_path / "single", AVERAGE, rarely, whole, "--ckpt_path=last", *FSDP2), one)


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
