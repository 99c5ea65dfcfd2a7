"""On one CUDA device, in bfloat16: shards give the numbers of the whole network, and a resumed run those of one that
was not interrupted."""

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy

import lit_models
from lit_models.core.sharding import FSDP2Strategy

from .cases import each_step, make, make_trainer, noisy, same_state
from .registry import REGISTRY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create"),
]
CUDA = {"accelerator": "cuda", "devices": 1}
SHARDED = sorted(name for name in REGISTRY if getattr(lit_models, name).entries)


def trained(name, folder, precision="bf16-mixed", **changes):
    module, data = make(name)
    trainer = make_trainer(folder, ema=False, precision=precision, **CUDA | changes)
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "end.ckpt")
    return torch.load(folder / "end.ckpt", weights_only=True)["state_dict"]


def require_near(one, other, rtol, atol):
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=rtol, atol=atol, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize(("precision", "rtol", "atol"), [("32-true", 1e-4, 1e-5), ("bf16-mixed", 5e-2, 5e-3)])
@pytest.mark.parametrize("strategy", ["fsdp2", "fsdp"])
@pytest.mark.parametrize("name", SHARDED)
def test_a_shard_of_one_device_is_the_whole(name, strategy, precision, rtol, atol, tmp_path):
    whole = trained(name, tmp_path / "whole", precision)
    made = FSDP2Strategy() if strategy == "fsdp2" else FSDPStrategy(state_dict_type="full", use_orig_params=True)
    require_near(whole, trained(name, tmp_path / "shard", precision, strategy=made), rtol, atol)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_device_gives_the_numbers_of_the_cpu(name, tmp_path):
    cpu = trained(name, tmp_path / "cpu", "32-true", accelerator="cpu", max_epochs=1)
    require_near(cpu, trained(name, tmp_path / "cuda", "32-true", max_epochs=1), 1e-2, 1e-3)


@pytest.mark.parametrize("name", SHARDED)
def test_a_resumed_run_ends_as_the_uninterrupted_one(name, tmp_path):
    module, data = make(name, **noisy(name))
    make_trainer(tmp_path / "whole", each_step(tmp_path), precision="bf16-mixed", **CUDA).fit(module, data)
    resumed, data = make(name, **noisy(name))
    trainer = make_trainer(tmp_path / "resumed", precision="bf16-mixed", **CUDA)
    trainer.fit(resumed, data, ckpt_path=tmp_path / "step=7.ckpt", weights_only=True)
    assert same_state(resumed.cpu().state_dict(), module.cpu().state_dict())
