"""Whatever happens to a run, once it is started again it ends as if nothing had happened, to the last bit.

    pytest -m faults tests/faults                       # 50 kills an algorithm
    LITMOTIF_KILLS=200 pytest -m faults tests/faults

The same tests without the marker run for one algorithm each.
"""

import os
import random
import signal
import subprocess

import pytest

from lit_models.cli.errors import CTRL_C, FAILED, TERMINATED
from tests.disks import small_disk

from ..conformance.registry import REGISTRY
from .runs import Run, require_same, survive

KILLS = int(os.environ.get("LITMOTIF_KILLS", "50"))
FEW = 4
NAMES = sorted(REGISTRY)


def algorithms(*quick):
    """All of them in the slow selection, and some in the quick one."""
    slow = [pytest.param(name, id=name, marks=pytest.mark.faults) for name in NAMES]
    return pytest.mark.parametrize("name", [*slow, *(pytest.param(name, id=f"{name}-quick") for name in quick)])


@pytest.fixture
def run(name, tmp_path, launcher):
    return Run(name, tmp_path / "run", launcher)


@pytest.fixture
def batch(name):
    """Any but the first and the last of an epoch of five."""
    return random.Random(name).choice([2, 3, 4, 7, 8, 9, 12, 13, 14])  # noqa: S311


@pytest.mark.timeout(3600)
@algorithms("MDLMDiT")
def test_killed_at_any_moment(name, request, tmp_path, launcher, whole):
    kills = KILLS if request.node.get_closest_marker("faults") else FEW
    killed, _ = survive(name, tmp_path, launcher, whole(name), kills, seed=f"{name} {kills}")  # other moments a number
    assert killed >= kills


@algorithms("EmotionRecognizer")
@pytest.mark.parametrize("saves", [1, 3])
def test_killed_between_a_checkpoint_and_the_records(name, saves, run, whole):
    """The loggers have not been told yet what the epoch came to, and schedules that count epochs are due.

    After the last epoch there is nothing left to train.
    """
    assert run.start(fault={"kind": "kill", "saves": saves}).status == -signal.SIGKILL
    require_same(run.finish(), whole(name).outcome)


@algorithms()
@pytest.mark.parametrize("place", ["start", "backward", "end"])
def test_terminated(name, place, batch, run, whole):
    end = run.start(fault={"kind": "signal", "signal": signal.SIGTERM, "batch": batch, "place": place})
    assert end.status == TERMINATED, run.said()
    require_same(run.finish(), whole(name).outcome)


@algorithms("MDLMDiT")
def test_warned_by_slurm(name, batch, tmp_path, launcher, whole):
    run = Run(name, tmp_path, launcher, requeue=True)
    end = run.start(fault={"kind": "signal", "signal": signal.SIGUSR1, "batch": batch})
    assert end.status == TERMINATED, run.said()
    require_same(run.finish(), whole(name).outcome)


@algorithms("MDLMDiT")
def test_an_exception_in_a_loader_worker(name, batch, run, whole):
    end = run.start("--data.num_workers=1", fault={"kind": "worker", "batch": batch})
    assert end.status == FAILED
    assert "WorkerError" in run.said()
    require_same(run.finish(), whole(name).outcome)


@algorithms("PPOLagrangian")
@pytest.mark.parametrize("place", ["batch", "end"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_validation_that_is_cut_off(name, epoch, place, run, whole):
    interrupt = (epoch == 1) == (place == "batch")
    end = run.start(fault={"kind": "validation", "epoch": epoch, "place": place, "interrupt": interrupt})
    assert end.status == (CTRL_C if interrupt else FAILED), run.said()
    require_same(run.finish(), whole(name).outcome)


@algorithms("CPO")
def test_a_loss_that_is_no_number(name, batch, run, whole):
    assert run.start(fault={"kind": "nan", "batch": batch}).status == FAILED
    assert "the weights are those before this" in run.said().lower()
    require_same(run.finish(), whole(name).outcome)


@algorithms()
def test_a_clock_that_jumps(name, batch, run, whole):
    end = run.start(fault={"kind": "clock", "batch": batch, "years": batch % 2 * 2 - 1})
    assert end.status == 0, run.said()
    require_same(run.finish(), whole(name).outcome)


@algorithms("MDLMDiT")
def test_a_truncated_checkpoint(name, batch, run, whole):
    assert run.start(fault={"kind": "kill", "batch": 12}).status == -signal.SIGKILL
    (last,) = run.folder.glob("runs/tiny/*/checkpoints/last.ckpt")
    os.truncate(last, last.stat().st_size * batch // 15)
    found = run.finish()
    assert "last.ckpt is damaged" in run.said()
    require_same(found, whole(name).outcome)


@pytest.fixture
def disk(run):
    """The runs lie on a file system of 16 MB: two checkpoints of each, and what comes in between."""
    with small_disk(run.folder / "runs", "16m") as folder:
        yield folder


@algorithms()
@pytest.mark.parametrize("trouble", ["full", "write-protected"])
def test_a_disk_in_trouble(name, trouble, disk, run, whole):
    end = run.start(fault={"kind": "disk", "batch": 7, "folder": str(disk), "trouble": trouble})
    assert end.status == FAILED, run.said()
    assert "last.ckpt was not saved at last" in run.said()
    if trouble == "full":
        (disk / "filler").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)  # noqa: S607
    require_same(run.finish(), whole(name).outcome)
