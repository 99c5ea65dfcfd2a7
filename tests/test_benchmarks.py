"""The scripts behind the numbers of the READMEs still run: each once, as short as its options allow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = {
    "cpo_env_speed": "--num_envs 16 --steps 2 --repeats 1 --updates 2",
    "cpo_foreign": "--env Middle/CartPole-v1 --seeds 0 --updates 1 --num_envs 2 --steps 16",
    "cpo_solver": "--problems 50",
    "diffusion_gaussian": "--columns 2 --steps 4",
    "diffusion_parity": "--repeats 1",
    "mdlm_speed": "--runs 1 --steps 1 --batch_size 2",
    "midi_export": "--chains 2 --frames 50",
    "minigrid_experts": "--runs 1",
    "motion_metrics": "--batch 1 --frames 10 --seconds 1 --hidden 32 --layers 1 --repeats 1",
    "overhead": "--configs midi/groove --steps 20",
    "scaling": "--processes 1 --steps 2",
    "state_action_closed_loop": "--variants ours --episodes 1 --out OUT -- "
    "--trainer.max_epochs=1 --data.steps_per_epoch=2",
    "state_action_speed": "--batch 4 --steps 1 --rounds 1",
}
LONG = {"cpo_cmdp", "cpo_film", "cpo_training", "state_action_pictures", "mdlm_empty"} | {
    "midi_levels",
    "midi_melodies",
    "midi_parsing",
    "midi_training",
    "motion_quality",
    "mutation",
}
"""Whole trainings, or pictures of one: only their options are read here."""
PARTS = {"command", "omnisafe_style", "quiet", "random_chain"}
"""Imported by others."""


def test_every_benchmark_is_in_this_list():
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} == SHORT.keys() | LONG | PARTS


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(SHORT.keys() | LONG))
def test_it_runs(name, tmp_path):
    options = SHORT.get(name, "--help").replace("OUT", str(tmp_path / "out")).split()
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip()
