"""The job script: what is asked for stands in it, and nothing that would fail after hours in the queue."""

import shlex
import subprocess
from pathlib import Path

import pytest

from lit_models.cli import configs, main
from lit_models.cli.commands.slurm import fill

from . import plain
from .tiny import write

TEMPLATES = sorted((configs.folder() / "slurm").glob("*.sbatch"))


@pytest.fixture
def config(in_tmp):
    return write(in_tmp, "plain.yaml", plain.CONFIG)


def directives(text):
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def fit_arguments(text):
    (line,) = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("srun")]
    return shlex.split(line)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_sound_and_asks_for_what_a_run_that_survives_needs(path):
    text = path.read_text()
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0  # noqa: S607
    told = directives(text)
    assert {"requeue", "nodes", "ntasks-per-node", "time"} <= told.keys()
    assert told["signal"].startswith("SIGUSR1@")  # to the processes, not to the script
    assert told["open-mode"] == "append"
    words = fit_arguments(text)
    assert words[:2] == ["srun", "--kill-on-bad-exit=1"]
    assert words.index("$@") < words.index("trainer/slurm")  # laid over whatever the experiment says
    assert {"--trainer.num_nodes=$SLURM_JOB_NUM_NODES", "--trainer.devices=$SLURM_NTASKS_PER_NODE"} <= set(words)


def test_every_option_changes_the_script(config, capsys):
    asked = (
        "--nodes 2 --gpus 3 --cpus 5 --mem 64G --time 2:00:00 --warning 300 --partition fast --account us --qos high"
    )
    options = [
        *asked.split(),
        "--name",
        "mine",
        "--ckpt_path",
        "last",
        "--model.optimizer.lr",
        "0.5",
        "--output",
        "job.sbatch",
    ]
    assert main(["slurm", "-c", config, *options]) == 0, capsys.readouterr().err
    text = Path("job.sbatch").read_text()
    told = directives(text)
    assert {"nodes": "2", "gpus-per-node": "3", "ntasks-per-node": "3", "cpus-per-task": "5"}.items() <= told.items()
    assert {"mem": "64G", "time": "2:00:00", "signal": "SIGUSR1@300", "job-name": "mine"}.items() <= told.items()
    assert {"partition": "fast", "account": "us", "qos": "high"}.items() <= told.items()
    words = fit_arguments(text)
    assert words[words.index("fit") :][:7] == [
        "fit",
        "-c",
        config,
        "--model.optimizer.lr",
        "0.5",
        "--ckpt_path",
        "last",
    ]
    assert "$@" in words
    assert "several" in text  # the template for several nodes
    assert subprocess.run(["bash", "-n", "job.sbatch"], check=False).returncode == 0  # noqa: S607


def test_the_kind_of_job_chooses_the_template(config):
    assert main(["slurm", "-c", config, "--array", "0-9%2", "--output", "a"]) == 0
    assert directives(Path("a").read_text())["array"] == "0-9%2"
    assert "SLURM_ARRAY_TASK_ID" in Path("a").read_text()
    assert main(["slurm", "-c", config, "--template", "rl_rollouts", "--tasks", "4", "--output", "b"]) == 0
    assert directives(Path("b").read_text())["ntasks-per-node"] == "4"
    assert main(["slurm", "-c", config, "--gpus", "0"]) == 0
    on_cpu = Path("plain.sbatch").read_text()
    assert "gpus-per-node" not in directives(on_cpu)
    assert "--trainer.accelerator=cpu" in fit_arguments(on_cpu)
    assert directives(on_cpu)["job-name"] == "plain"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["no config"]),
        (["-c", "mdlm/emty_8x8"], ["mdlm/empty_8x8"]),
        (["-c", "plain.yaml", "--model.slop", "2"], ["no key 'slop'"]),
        (["-c", "plain.yaml", "--partion", "fast"], ["--partion"]),
        (["-c", "plain.yaml", "--template", "none"], ["one_node"]),
    ],
)
def test_a_mistake_is_said_before_a_script_is_written(options, words, config, in_tmp, capsys):
    assert main(["slurm", *options]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert not list(in_tmp.glob("*.sbatch"))


def test_a_script_that_was_changed_is_not_written_over(config, capsys):
    assert main(["slurm", "-c", config]) == 0
    assert main(["slurm", "-c", config]) == 0
    with Path("plain.sbatch").open("a") as file:
        file.write("echo mine\n")
    assert main(["slurm", "-c", config]) == 1
    assert "--output" in capsys.readouterr().err
    assert Path("plain.sbatch").read_text().endswith("echo mine\n")


def test_submit_gives_the_script_to_sbatch_and_its_failure_back(config, in_tmp, monkeypatch, capfd):
    (in_tmp / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{in_tmp / 'bin'}:/bin")
    sbatch = in_tmp / "bin" / "sbatch"
    sbatch.write_text('#!/bin/sh\necho "Submitted $1"\n')
    sbatch.chmod(0o755)
    assert main(["slurm", "-c", config, "--submit"]) == 0
    assert "Submitted plain.sbatch" in capfd.readouterr().out
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    assert main(["slurm", "-c", config, "--submit"]) == 1
    monkeypatch.setenv("PATH", "")
    assert main(["slurm", "-c", config, "--submit"]) == 1
    assert "no sbatch here" in capfd.readouterr().err


def test_awkward_values_reach_the_run_as_they_were():
    (template,) = [path for path in TEMPLATES if path.stem == "one_node"]
    text = fill(template.read_text(), "my job.sbatch", "said", ["-c", "odd name.yaml", "--model.slope", "a $b"], {})
    shown = text.replace("srun --kill-on-bad-exit=1", 'set -- --last; printf "%s|"').replace("$SLURM_", "$HOME_")
    lines = [line for line in shown.splitlines() if not line.startswith("export") and "set -euo" not in line]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)  # noqa: S607
    assert done.stdout.startswith("litmotif|fit|-c|odd name.yaml|--model.slope|a $b|--last|-c|trainer/slurm|")
