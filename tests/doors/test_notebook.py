"""A notebook: what Python's user does with a module and its data, for every registered module."""

import copy
import inspect
import pickle
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from lightning.pytorch import LightningModule

import callbacks
import lit_models
from lit_models.core import checkpoint
from lit_models.core.hparams import parameters
from litmotif.batches.given import as_batch
from litmotif.errors import ArgumentError, ArgumentTypeError
from tests.conformance.cases import NAMES, make, make_data, make_trainer
from tests.conformance.registry import REGISTRY

from . import plain

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
BRIEF = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}
of_every_module = pytest.mark.parametrize("name", NAMES)


@of_every_module
def test_built_for_its_data_evaluated_and_fitted_in_any_order(name, tmp_path):
    data = make_data(name)
    module = getattr(lit_models, name).for_data(data, **REGISTRY[name].tiny)
    assert all(module.hparams[link] is not None for link in data.links if link in parameters(type(module)))
    trainer = make_trainer(tmp_path, **BRIEF)
    trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    again = make_trainer(tmp_path, **BRIEF)
    again.fit(module, data)
    (found,) = again.validate(module, data, verbose=False)
    assert found
    assert torch.tensor([value for key, value in found.items() if key == "val/loss"]).isfinite().all()
    with pytest.raises(ArgumentTypeError, match="hiden_size"):
        type(module).for_data(data, hiden_size=3)
    with pytest.raises(ArgumentError, match="comes from the data"):
        type(module).for_data(data, **{next(link for link in data.links if link in parameters(type(module))): 3})


@of_every_module
def test_the_signature_shows_all_arguments_and_a_missing_one_is_named_with_the_class(name):
    owner = getattr(lit_models, name)
    shown = inspect.signature(owner).parameters
    assert {"optimizer", "seed"} < shown.keys()
    needed = [key for key, each in shown.items() if each.default is each.empty]
    if needed:
        with pytest.raises(ArgumentTypeError, match=rf"{name}\(\) needs .*{needed[0]}.*for_data"):
            owner()


@of_every_module
def test_travels_to_another_process(name):
    module, _ = make(name)
    for copied in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):  # noqa: S301
        assert all(torch.equal(a, b) for a, b in zip(module.parameters(), copied.parameters(), strict=True))
    pickle.dumps(callbacks.EMAWeights())


def test_data_of_other_sizes_and_missing_statistics_are_named_before_the_first_step(tmp_path):
    module, data = make("EmotionRecognizer")
    other = make_data("EmotionRecognizer", task="dynamics")
    with pytest.raises(ArgumentError, match=r"built for other data, (input|output)_size"):
        make_trainer(tmp_path, **BRIEF).fit(module, other)
    bare = lit_models.EmotionRecognizer(**REGISTRY["EmotionRecognizer"].tiny)
    with pytest.raises(ArgumentError, match=r"without input_mean.*for_data"):
        make_trainer(tmp_path, **BRIEF).fit(bare, data)


def test_a_precision_that_a_module_cannot_follow_is_refused(tmp_path):
    module, data = make("CPO")
    with pytest.raises(ArgumentError, match=r"precision=bf16-true.*32-true"):
        make_trainer(tmp_path, precision="bf16-true", **BRIEF).fit(module, data)


def test_a_batch_is_a_named_tuple_a_dictionary_a_tuple_or_an_object_of_these_names(tmp_path):
    module, data = make("MDLMDiT")
    kind = type(module).batch
    batch = next(iter(data.train_dataloader()))
    told = {"observation": batch.observation._asdict(), "plan": batch.plan}
    ways = [batch, told, (tuple(batch.observation), batch.plan), [batch.observation, batch.plan]]
    ways.append(type("Own", (), {"observation": batch.observation, "plan": batch.plan}))
    for way in ways:
        given = as_batch(kind, way, "MDLMDiT")
        assert isinstance(given, kind)
        assert torch.equal(given.plan, batch.plan)
        assert torch.equal(given.observation.image, batch.observation.image)
        assert len(given.item) == len(given.floor) == len(batch.plan)
    loader = torch.utils.data.DataLoader([told], batch_size=None)  # of one's own, without a datamodule
    make_trainer(tmp_path, **BRIEF).fit(module, loader, loader)
    with pytest.raises(
        ArgumentTypeError, match=r"dict with x.*lacks observation, plan.*observation, plan, floor, item"
    ):
        module.validation_step({"x": batch.plan}, 0)
    with pytest.raises(ArgumentTypeError, match=r"Tensor.*lacks observation"):
        module.training_step(batch.plan, 0)


def saved(path, name="Ours", file="epoch=0-step=4.ckpt"):
    module = plain.Ours()
    content = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    path.mkdir(parents=True)
    torch.save(content | {"litmotif": {"class": name, "module": plain.__name__}}, path / file)
    return path / file


def test_the_only_checkpoint_of_a_folder_and_a_class_that_a_package_registers(tmp_path, monkeypatch):
    file = saved(tmp_path / "version_0" / "checkpoints")
    with pytest.raises(checkpoint.CheckpointError, match=r"holds Ours.*load_from_checkpoint.*litmotif.modules"):
        lit_models.load(tmp_path / "version_0")
    entry = EntryPoint("Ours", "tests.doors.plain:Ours", checkpoint.REGISTERED)
    monkeypatch.setattr(checkpoint, "entry_points", lambda group: EntryPoints([entry]).select(group=group))
    found = lit_models.load(tmp_path / "version_0")
    assert isinstance(found, plain.Ours)
    assert isinstance(found, LightningModule)
    (tmp_path / "version_0" / "checkpoints" / "other.ckpt").write_bytes(file.read_bytes())
    with pytest.raises(FileNotFoundError):
        lit_models.load(tmp_path / "version_0")
