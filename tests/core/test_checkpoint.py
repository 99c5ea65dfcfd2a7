import pytest
import torch

import lit_models
from lit_models.core.checkpoint import CheckpointError, find


def save(folder, name="best.ckpt", **content):
    torch.manual_seed(0)
    module = lit_models.MDLMDiT(
        horizon=4, view_size=[5, 5], network={"hidden_size": 16, "num_layers": 1, "num_heads": 2}
    )
    hparams = dict(module.hparams)
    written = {"state_dict": module.state_dict(), "hyper_parameters": hparams, "litmotif": {"class": "MDLMDiT"}}
    path = folder / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    torch.save(written | content, path)
    return path, module


def test_a_run_folder_gives_its_best_checkpoint_else_its_last(tmp_path):
    last, module = save(tmp_path, "last.ckpt")
    assert find(tmp_path) == last
    best, _ = save(tmp_path, "best.ckpt")
    assert find(tmp_path) == best
    loaded = lit_models.load(tmp_path)
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in module.state_dict().items())
    assert not loaded.training


def test_nothing_there_lists_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"best\.ckpt.*last\.ckpt"):
        lit_models.load(tmp_path)


def test_a_class_that_is_not_public_is_named(tmp_path):
    path, _ = save(tmp_path, litmotif={"class": "Unknown"})
    with pytest.raises(CheckpointError, match="holds Unknown"):
        lit_models.load(path)


def test_weights_of_another_shape_are_named(tmp_path):
    path, _ = save(tmp_path, hyper_parameters={"horizon": 9, "view_size": [5, 5], "network": {"hidden_size": 16}})
    with pytest.raises(CheckpointError, match="does not fit the architecture that it names"):
        lit_models.load(path)


def test_a_checkpoint_knows_its_class_wherever_that_has_moved(tmp_path):
    path, module = save(tmp_path, litmotif={"class": "MDLMDiT", "module": "lit_models.elsewhere.module"})
    assert type(lit_models.load(path)) is type(module)
