"""Nothing that comes in a file runs: neither of a config, nor of a checkpoint, nor of a run folder."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

import lit_models
from lit_models.cli import main
from lit_models.cli.commands.slurm import fill
from lit_models.cli.commands.trained_run import TrainedRun
from lit_models.cli.errors import FAILED, WRONG_REQUEST, RequestError
from lit_models.cli.trust import is_trusted
from lit_models.core.checkpoint import CheckpointError
from lit_models.core.run_paths import here, there
from lit_models.export.rtneural.sidecar import plain as in_sidecar

from ..cli import plain
from ..cli.tiny import CONFIG, write

MARK = "PWNED"
POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": f"touch {MARK}", "shell": True}}
SYSTEM = {"class_path": "os.system", "init_args": {"command": f"touch {MARK}"}}
HANDLER = {
    "class_path": "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",
    "init_args": {"entrypoint": "touch", "args": [MARK], "env": {}, "stdout": None, "stderr": None, "local_rank_id": 0},
}
QUIET = ["--trainer.logger=false", "--trainer.callbacks=[]"]


def nobody_ran():
    return not list(Path().rglob(MARK))


@pytest.fixture
def tiny(in_tmp):
    return write(in_tmp)


# ---------------------------------------------------------------------- configs
PLACES = {
    "model": {"model": POPEN},
    "data": {"data": SYSTEM},
    "a path alone": {"model": "os.system"},
    "a callback": {"trainer": {"callbacks": [POPEN]}},
    "a logger": {"trainer": {"logger": [SYSTEM]}},
    "a profiler": {"trainer": {"profiler": POPEN}},
    "a strategy": {"trainer": {"strategy": POPEN}},
    "a plug-in": {"trainer": {"plugins": [SYSTEM]}},
    "an option of data": {"data": {"init_args": {"env_kwargs": {"agent_start_pos": POPEN}}}},
    "an option itself": {"data": {"init_args": {"env_kwargs": POPEN}}},
    "deep in an option": {"data": {"init_args": {"env_kwargs": {"a": [{"b": {"c": POPEN}}]}}}},
    "a class of PyTorch in an option": {"data": {"init_args": {"env_kwargs": {"a": HANDLER}}}},
    "an option without a type": {"data": {"init_args": {"env_kwargs": {"a": {"class_path": "torch.nn.Linear"}}}}},
    "a function": {
        "trainer": {"callbacks": [{"class_path": "LambdaCallback", "init_args": {"on_fit_start": "os.system"}}]}
    },
    "a function of PyTorch": {
        "trainer": {"callbacks": [{"class_path": "LambdaCallback", "init_args": {"on_fit_start": "torch.hub.load"}}]}
    },
    "more arguments": {"model": {"class_path": "MDLMDiT", "dict_kwargs": {"x": POPEN}}},
    "an installed package": {"model": {"class_path": "yaml.YAMLObject"}},
    "a built-in": {"data": {"class_path": "builtins.eval"}},
    "PyTorch's loader of code": {"model": {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "x"}}},
    "an optimizer": {"model": {"class_path": "MDLMDiT", "init_args": {"optimizer": POPEN}}},
    "a resumed class": {"trainer": {"callbacks": [{"class_path": "Requeue", "init_args": {"x": SYSTEM}}]}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_config_that_names_code_of_others_runs_nothing(place, tiny, in_tmp, capsys):
    hostile = write(in_tmp, "hostile.yaml", yaml.safe_dump(PLACES[place]))
    status = main(["fit", "-c", tiny, "-c", hostile])
    said = capsys.readouterr().err
    assert nobody_ran()
    assert status == WRONG_REQUEST, said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "option",
    [
        f"--data.env_kwargs={json.dumps({'a': POPEN})}",
        f"--model={json.dumps(POPEN)}",
        "--model=subprocess.Popen",
        f"--trainer.callbacks+={json.dumps(POPEN)}",
        f"--trainer.callbacks={json.dumps([SYSTEM])}",
    ],
)
def test_neither_does_an_option(option, tiny, capsys):
    assert main(["fit", "-c", tiny, option]) == WRONG_REQUEST
    assert nobody_ran()


def test_nor_a_file_that_a_config_names(tiny, in_tmp, capsys):
    (in_tmp / "model.yaml").write_text(yaml.safe_dump(POPEN))
    hostile = write(in_tmp, "hostile.yaml", "model: model.yaml\n")
    assert main(["fit", "-c", tiny, "-c", hostile]) == WRONG_REQUEST
    assert "subprocess.Popen" in capsys.readouterr().err
    assert nobody_ran()


def test_a_config_cannot_trust_itself(tiny, in_tmp):
    hostile = write(in_tmp, "hostile.yaml", yaml.safe_dump({"trust": True} | PLACES["an option of data"]))
    assert main(["fit", "-c", tiny, "-c", hostile]) == WRONG_REQUEST
    assert nobody_ran()


def test_what_the_user_trusts_is_run(in_tmp, capsys):
    call = {"class_path": "LambdaCallback", "init_args": {"on_fit_end": "gc.collect"}}
    config = write(in_tmp, "plain.yaml", plain.CONFIG)
    asked = ["fit", "-c", config, "--trainer.logger=false", f"--trainer.callbacks={json.dumps([call])}"]
    assert main(asked) == WRONG_REQUEST
    assert "--trust" in capsys.readouterr().err
    assert main([*asked, "--trust"]) == FAILED
    assert "collect" in capsys.readouterr().err  # it was called, with a trainer and a module


@pytest.mark.parametrize(
    ("path", "trusted"),
    [
        ("lit_models.MDLMDiT", True),
        ("lightning.pytorch.callbacks.EarlyStopping", True),
        ("torch.optim.SGD", True),
        ("MDLMDiT", True),
        ("tests.cli.plain.Plain", True),
        ("mine.Callback", True),
        ("os.system", False),
        ("subprocess.Popen", False),
        ("builtins.eval", False),
        ("importlib.import_module", False),
        ("numpy.load", False),
        ("rich.console.Console", False),
        ("nowhere.at.all", True),
    ],
)
def test_whose_classes_a_config_may_name(path, trusted, in_tmp, monkeypatch):
    (in_tmp / "mine.py").write_text("")
    monkeypatch.syspath_prepend(str(in_tmp))
    is_own = is_trusted.__globals__["is_own"]
    is_own.cache_clear()
    assert is_trusted(path) == trusted
    is_own.cache_clear()


# ---------------------------------------------------------------------- checkpoints
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of MDLM over plans, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    config = write(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "-c", config, "--trainer.max_steps=1", "--test_after_fit=false"]) == 0
    finally:
        os.chdir(before)
    return folder


def evil(trained, change):
    """A copy of its checkpoint, changed."""
    content = torch.load(trained / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    change(content)
    torch.save(content, "evil.ckpt")
    return "evil.ckpt"


def with_option(part, key, value):
    def change(content):
        content[part][key] = value

    return change


HOSTILE = {
    "a class in an option": with_option("datamodule_hyper_parameters", "env_kwargs", {"agent_start_pos": POPEN}),
    "one deep inside": with_option("datamodule_hyper_parameters", "env_kwargs", {"a": [[{"b": HANDLER}]]}),
    "the optimizer": with_option("hyper_parameters", "optimizer", POPEN),
    "any other": with_option("hyper_parameters", "lr", SYSTEM),
}


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
@pytest.mark.parametrize("place", HOSTILE)
def test_a_checkpoint_makes_no_class(place, command, trained, tiny, capsys):
    status = main([command, "-c", tiny, "--ckpt_path", evil(trained, HOSTILE[place])])
    said = capsys.readouterr().err
    assert nobody_ran()
    assert status == FAILED
    assert "evil.ckpt" in said
    assert "Traceback" not in said


def test_a_checkpoint_decides_nothing_about_this_machine(trained, tiny, in_tmp, capsys):
    def change(content):
        content["datamodule_hyper_parameters"] |= {"cache_dir": str(in_tmp / "stolen"), "num_workers": 10**6}

    assert main(["validate", "-c", tiny, "--ckpt_path", evil(trained, change)]) == 0, capsys.readouterr().err
    assert not (in_tmp / "stolen").exists()


def test_data_that_only_the_other_machine_had_are_asked_for(tmp_path):
    from lit_models.cli.resume import Difference, _stays_here

    gone = Difference("data.root", "/scratch/alice", None, "/scratch/alice", False)
    with pytest.raises(CheckpointError, match=r"--data\.root PATH"):
        _stays_here(gone, {"data.root"}, tmp_path)
    assert _stays_here(gone._replace(requested="here"), {"data.root"}, tmp_path)
    assert not _stays_here(gone._replace(explicit=True), {"data.root"}, tmp_path)
    assert _stays_here(Difference("model.teacher", "../../x", "mine", "../../x", False), set(), tmp_path)


@pytest.mark.parametrize("name", ["load", "__import__", "__version__", "core", None, 3, ["MDLMDiT"], {}])
def test_a_checkpoint_names_classes_only(name, trained, in_tmp):
    with pytest.raises(CheckpointError):
        lit_models.load(evil(trained, lambda content: content["litmotif"].update({"class": name})))


def test_a_run_folder_names_data_of_ours_only(trained, in_tmp):
    run = in_tmp / "run"
    (run / "checkpoints").mkdir(parents=True)

    def change(content):
        del content["MiniGridPlans"]
        content["datamodule_hyper_parameters"] = POPEN["init_args"]

    os.rename(evil(trained, change), run / "checkpoints/best.ckpt")
    for named in ("subprocess.Popen", "lit_models.load", "torch.nn.Linear"):
        (run / "config.yaml").write_text(yaml.safe_dump({"data": {"class_path": named}}))
        assert TrainedRun.find(str(run)).data_class is None
    assert nobody_ran()


def strings(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_a_checkpoint_tells_nothing_of_the_machine(in_tmp):
    config = write(in_tmp)
    cache = f"--data.cache_dir={in_tmp}/cache"
    assert main(["fit", "-c", config, "--trainer.max_steps=1", "--test_after_fit=false", cache]) == 0
    content = torch.load("runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    found = strings({key: value for key, value in content.items() if key != "state_dict"})
    assert "here://last.ckpt" in found or "here://best.ckpt" in found
    assert not [text for text in found if os.path.isabs(text) or str(in_tmp) in text]
    assert content["datamodule_hyper_parameters"]["cache_dir"] == "cache"


def test_paths_of_callbacks_move_with_the_run_and_lead_nowhere_else(tmp_path):
    old, new = tmp_path / "old/checkpoints", tmp_path / "new/checkpoints"
    kept = {"ModelCheckpoint": {"dirpath": str(old), "best_k_models": {f"{old}/best.ckpt": 1.0}, "else": "/else/where"}}
    moved = there(here(kept, old), new)
    assert moved["ModelCheckpoint"] == {
        "dirpath": str(new),
        "best_k_models": {f"{new}/best.ckpt": 1.0},
        "else": "/else/where",
    }
    assert there(here(kept, old), old) == kept
    for escape in ("here://../../victim", f"{new}/../../victim", "here:///etc/passwd"):
        assert there({"best_model_path": escape}, new) == {"best_model_path": ""}


def test_no_file_of_an_export_says_where_data_lie():
    paths = ["/home/alice/clients/secret/midi", "C:\\Users\\alice\\midi", "~/midi", Path("/a/midi")]
    assert in_sidecar({"root": paths, "name": "a/b"}) == {"root": ["midi"] * 4, "name": "a/b"}


# ---------------------------------------------------------------------- job scripts
TEMPLATE = '#!/bin/bash\n# sbatch x\n#SBATCH --job-name=x\nsrun litmotif fit "$@"\n'


def test_a_line_break_cannot_leave_its_line(tmp_path):
    said = "litmotif slurm --data.a $'\ntouch PWNED\n#'"
    text = fill(TEMPLATE, "x.sbatch", said, ["--data.a", "\ntouch PWNED\n#"], {"job-name": "my job"})
    assert text.splitlines()[2] == '#SBATCH --job-name="my job"'
    assert text.splitlines()[3].startswith("srun ")
    command = text.partition("srun litmotif fit ")[2].replace('"$@"', "")
    assert shlex.split(command) == ["--data.a", "\ntouch PWNED\n#"]
    script = tmp_path / "x.sh"
    script.write_text(text.replace("srun litmotif", "true"))
    subprocess.run(["bash", script], check=True, cwd=tmp_path)  # noqa: S607
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("told", ["a\ntouch PWNED\n#", "a\rb", "a\x00", 'a"b', "a\\"])
def test_a_directive_that_cannot_be_one_is_refused(told):
    with pytest.raises(RequestError):
        fill(TEMPLATE, "x.sbatch", "litmotif slurm", [], {"job-name": told})
    assert CONFIG
