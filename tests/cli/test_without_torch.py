"""What is answered without PyTorch."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lit_models import __version__
from lit_models.cli import configs, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["doctor"], []])
def test_answers_within_a_second_without_torch(arguments):
    code = f"import sys; from lit_models.cli import main; main({arguments!r}); print('torch' in sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "False"
    assert min(seconds) <= 1.0


def test_importing_the_packages_adds_nothing_heavy():
    heavy = "{'torch', 'lightning', 'numpy'}"
    code = f"import sys, lit_models, datamodules, callbacks; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"litmotif {__version__}\n"


def test_list_has_one_line_each(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ["MDLMDiT", "MiniGridPlans", "EMAWeights", "RunHistory", "ResultsTable", "Figures", *configs.names()]:
        (line,) = [line for line in lines if line.split() and line.split()[0] == name]
        assert len(line.split()) > 3, f"{name} has no description"


def test_doctor_names_versions_origins_and_extras(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in [
        "python",
        "torch",
        "lightning",
        "lit_models",
        "datamodules",
        "callbacks",
        "(ours)",
        "accelerators",
        "cpu",
    ]:
        assert word in out


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["fitt"]) == 2
    assert "Did you mean 'fit'?" in capsys.readouterr().err


def test_a_foreign_package_is_refused_before_it_is_imported(tmp_path):
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "__init__.py").write_text("open('imported', 'w').close()")
    for arguments in (["--version"], ["list"], ["fit", "-c", "mdlm/empty_8x8"]):
        done = subprocess.run(
            [sys.executable, "-c", f"from lit_models.cli import main; raise SystemExit(main({arguments!r}))"],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert str(tmp_path / "callbacks") in done.stderr
        assert "Remedy" in done.stderr
    assert not (tmp_path / "imported").exists()


def test_configs_are_found_by_name_by_path_and_by_near_miss(tmp_path):
    shipped = configs.find("mdlm/empty_8x8")
    assert configs.find("mdlm/empty_8x8.yaml") == shipped
    assert configs.find(str(shipped)) == shipped
    with pytest.raises(configs.ConfigError, match="mdlm/empty_8x8"):
        configs.find("mdlm/emtpy_8x8")


@pytest.mark.parametrize("old", configs.RENAMED)
def test_an_old_name_is_answered_with_the_new_one(old):
    new = configs.RENAMED[old]
    assert new in configs.names()
    assert old not in configs.names()
    for asked in (old, f"{old}.yaml", f"configs/{old}.yaml"):
        with pytest.raises(configs.ConfigError, match=f"{asked}: .* -c {new}[.]"):
            configs.find(asked)


def test_the_experiment_is_named_by_its_first_config_that_is_no_overlay():
    assert configs.experiment_name(["trainer/cpu", "mdlm/empty_8x8", "debug/fast"]) == "mdlm/empty_8x8"
    assert configs.experiment_name(["some/where/mine.yaml", "mdlm/empty_8x8"]) == "mine"


@pytest.mark.parametrize("name", configs.names())
def test_configs_are_valid_yaml(name):
    assert isinstance(yaml.safe_load(configs.find(name).read_text()), dict)
