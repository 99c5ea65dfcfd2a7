"""Runs of several experiments compared, seed by seed."""

import json
import shutil

import pytest
import yaml
from PIL import Image

from lit_models.cli import main
from lit_models.cli.commands.series import Series, seeds

from .fake_runner import FakeRunner, option
from .plain import CONFIG
from .tiny import write


def leave(folder, seed, results, **data):
    """A tested run."""
    (folder / "checkpoints").mkdir(parents=True)
    content = {"seed_everything": seed, "data": {"class_path": "Rollouts", "init_args": data}}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    (folder / "results.json").write_text(json.dumps({name: {"value": value} for name, value in results.items()}))


@pytest.fixture
def runs(in_tmp):
    for seed in range(7):
        wheel = {"env": "Wheelchair", "batch_size": seed}
        leave(in_tmp / f"runs/good/seed_{seed}/version_0", seed, {"return": 10 + seed, "cost": 1 + seed / 9}, **wheel)
        leave(
            in_tmp / f"runs/bad/version_{seed}", seed, {"return": 5 + seed, "cost": 1.5 + seed / 9, "odd": 1}, **wheel
        )
    return in_tmp


def test_what_differs_is_found_and_shown(runs, capsys):
    assert main(["compare", "runs/good", "runs/bad", "--out", "report"]) == 0
    told = json.loads((runs / "report/compare.json").read_text())
    assert told["interquartile_mean"]["return"]["good"][0] == 13
    by = {test["metric"]: test for test in told["tests"]}
    assert (by["return"]["difference"], by["return"]["pairs"]) == (5, 7)
    assert (by["return"]["p"], by["return"]["p_holm"]) == pytest.approx((2 / 128, 4 / 128))
    assert by["cost"]["probability_of_improvement"][0] > 0.5  # less of it is better
    with Image.open(runs / "report/compare.png") as picture:
        assert picture.width > 500
    said = capsys.readouterr().out
    assert "differs" in said
    assert "Holm, so nothing" not in said
    assert main(["compare", "runs/good", "runs/bad", "--out", "report"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_few_seeds_are_said_to_be_too_few(runs, capsys):
    for seed in range(3):
        shutil.rmtree(runs / f"runs/good/seed_{seed}")
        shutil.rmtree(runs / f"runs/bad/version_{seed}")
    assert main(["compare", "runs/good", "runs/bad", "--metrics", "return"]) == 0
    assert "4 seeds, 1 tests: no p-value can be below 0.12 after Holm" in capsys.readouterr().out


def test_a_single_seed_is_shown_and_not_tested(runs, capsys):
    assert main(["compare", "runs/good/seed_0/version_0", "runs/bad/version_0", "--out", "one"]) == 0
    told = json.loads((runs / "one/compare.json").read_text())
    assert {test["p"] for test in told["tests"]} == {None}
    assert "one seed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/none"], "no run folder is there"),
        (["runs/good", "runs/bad", "--metrics", "retrun"], "Did you mean 'return'"),
        (["runs/bad", "--metrics", "odd"], "--higher odd or --lower odd"),
        (["runs/good", "runs/other"], "data.env is Wheelchair and Leg"),
        (["runs/untested"], "was tested"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, capsys, arguments, words):
    leave(runs / "runs/other/version_0", 0, {"return": 1}, env="Leg")
    leave(runs / "runs/untested/version_0", 0, {}, env="Leg")
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_series_of_seeds_is_an_algorithm(in_tmp, capsys):
    for name in "ab":
        write(in_tmp, f"{name}.yaml", CONFIG)
    runner = FakeRunner(results=lambda arguments: {"return": {"value": float(option(arguments, "--seed_everything"))}})
    assert Series(runner)(["a.yaml", "b.yaml", "--seeds", "0-2"]) == 0
    asked = [(option(a, "--seed_everything"), option(a, "--trainer.default_root_dir")) for a in runner.asked]
    assert asked == [(str(seed), f"runs/{name}/seed_{seed}") for name in "ab" for seed in range(3)]


def test_seeds_are_a_range_or_a_list(in_tmp, capsys):
    assert seeds("0-2,7") == [0, 1, 2, 7]
    for text in ("x", "-3", "1,1", "2-1"):
        assert Series(FakeRunner())(["-c", "mdlm/empty_8x8", "--seeds", text]) == 2
