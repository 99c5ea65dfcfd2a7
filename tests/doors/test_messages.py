"""Wrong keys, values and classes: a sentence that names them, never a traceback."""

import functools

import pytest
import yaml
from lightning.pytorch import Trainer

from lit_models.cli import configs, main
from tests.conformance.registry import REGISTRY

EXPERIMENTS = [
    name for name in configs.names() if "class_path" in yaml.safe_load(configs.find(name).read_text()).get("model", {})
]
BROKEN = {
    bool: ["maybe", "null", "3"],
    int: ["-1", "0", "abc", "null", "1.5"],
    float: ["-1.0", "nan", "abc", "null"],
    str: ["nonsense", "null", "3", "[a]"],
    list: ["abc", "[]", "null", "[-1]"],
    dict: ["{nonsense: 1}", "3", "null"],
}
"""What stands in the place of a value, by its type."""
SHORT = ["--trainer.fast_dev_run=true", "--trainer.logger=false", "--trainer.enable_progress_bar=false"]


def keys(content, path=""):
    """Keys and values of a config, those that are no group of others."""
    for key, value in content.items():
        if isinstance(value, dict) and value and key in ("model", "data", "trainer", "init_args"):
            yield from keys(value, path if key == "init_args" else f"{path}{key}.")
        elif key not in ("class_path", "callbacks", "callbacks+"):
            yield f"{path}{key}", value


def cases(name):
    """Each key of a config in each wrong way, and misspelt."""
    content = yaml.safe_load(configs.find(name).read_text())
    few = [f"--data.{key}={value}" for key, value in REGISTRY[content["model"]["class_path"]].few.items()]
    for key, value in keys(content):
        for wrong in BROKEN.get(type(value), ["abc", "-1"]):
            yield [*few, f"--{key}={wrong}"]
        yield [f"--{key}x={value}"]


@pytest.fixture
def untrained(monkeypatch, in_tmp):
    monkeypatch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(lambda self, *args, **kwargs: None))


def require_a_sentence(name, options, capsys):
    """The command, for which no request is a defect of ours."""
    status = main(["fit", "-c", name, *SHORT, "--test_after_fit=false", *options])
    err = capsys.readouterr().err
    assert status in (0, 1, 2)
    assert "Traceback" not in err, options
    assert status == 0 or "litmotif: " in err, options


@pytest.mark.parametrize("name", ["mdlm/empty_8x8", "midi/groove"])
def test_some_broken_keys(name, untrained, capsys):
    known = [*cases(name)]
    for options in known[5 :: len(known) // 3]:
        require_a_sentence(name, options, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_broken_key(name, untrained, capsys):
    for options in cases(name):
        require_a_sentence(name, options, capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.network.hidden_size=-1"], ["hidden_size=-1", "at least 1"]),
        (["--data.batch_size=0"], ["batch_size=0", "at least 1"]),
        (["--trainer.strategy=foo"], ["'foo'", "--trainer.strategy=foo"]),
        (["--trainer.logger+=MLFlowLogger"], ["mlflow", "pip install"]),
    ],
)
def test_what_cannot_be_built_is_named_with_its_option(options, words, untrained, capsys):
    assert main(["fit", "-c", "mdlm/empty_8x8", "--data.train=12", "--data.test=4", *options]) in (1, 2)
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert "Traceback" not in err
