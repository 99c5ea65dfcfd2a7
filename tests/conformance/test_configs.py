"""Every shipped config runs as its first line says, through the real command."""

import shlex

import pytest
import torch
import yaml

from lit_models.cli import configs, main

from .registry import REGISTRY

ELSEWHERE = {
    "trainer/ddp": "tests/conformance/test_processes.py runs it on two processes",
    "trainer/zero": "tests/conformance/test_sharding.py runs it on two processes",
}
NEEDS_PACKAGE = {"cpo/point_goal": "safety_gymnasium"}
NEEDS_GPU = {"trainer/gpu", "trainer/mps", "trainer/fsdp", "trainer/deepspeed"}


def command(name):
    first = configs.find(name).read_text().splitlines()[0]
    assert first.startswith("# litmotif "), f"{name}: line 1 must be the command that runs it"
    return shlex.split(first.removeprefix("# litmotif "))


def shrink(arguments):
    merged = [yaml.safe_load(configs.find(n).read_text()) for n in configs.split(arguments)[0]]
    (entry,) = [REGISTRY[c["model"]["class_path"]] for c in merged if "model" in c]
    few = [f"--data.{key}={value}" for key, value in entry.few.items()]
    networks = [c.get("model", {}).get("init_args", {}).get("network", {}) for c in merged]
    few += ["--model.network.num_layers=1"] * any("num_layers" in each for each in networks)
    return [*few, "--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0"]


@pytest.mark.parametrize("name", configs.names())
def test_every_config_says_what_it_is_and_runs(name, in_tmp, capsys):
    arguments = command(name)
    assert configs.summary(configs.find(name))
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    if name in NEEDS_PACKAGE:
        pytest.importorskip(NEEDS_PACKAGE[name])
    if name in NEEDS_GPU and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    experiment = name.split("/")[0] not in configs.OVERLAYS
    short = ["--trainer.fast_dev_run=true"] if experiment or name == "debug/fast" else ["--data.steps_per_epoch=2"]
    short += ["--trainer.max_epochs=50" if name == "debug/overfit" else "--trainer.max_epochs=1"]
    status = main([*arguments, *shrink(arguments), *short])
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", [n for n in configs.names() if n.split("/")[0] not in configs.OVERLAYS])
def test_every_experiment_has_an_explicit_seed(name):
    requested = configs.split(command(name))[0]
    assert any("seed_everything" in yaml.safe_load(configs.find(n).read_text()) for n in requested)
