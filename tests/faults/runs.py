"""A tiny run of each algorithm, what goes wrong in it, and what it leaves."""

import json
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from lit_models.core.checkpoint import LAST, PREVIOUS

from ..conformance.cases import RECORDS, noisy, records, saver
from ..conformance.registry import REGISTRY
from ..launcher import End, Launcher, Start
from ..nested import merged
from .inject import FAULT, PLACES

SMOOTHED = {"moving_average", "summary"}
STATES = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
COUNTS = ("epoch", "global_step")
MOST_STARTS = 60
SCHEDULES = {  # by the data: what steps at each batch, at each epoch, and after each validation
    "MusicFrames": {"schedule": {"name": "plateau", "patience": 0, "gamma": 0.7}},
    "MotionClips": {"schedule": {"name": "exponential", "interval": "epoch"}},
    "Rollouts": {"schedule": {"name": "linear", "interval": "epoch"}},
}
CALLBACKS = {"EMAWeights": {"decay": 0.9}, f"{__package__}.inject.Inject": {}} | RECORDS


def write_config(name: str, folder: Path, requeue: bool = False) -> Path:
    """Three epochs of five steps: the callbacks of ``configs/defaults.yaml`` but for the pictures, and an average."""
    entry = REGISTRY[name]
    savers = [saver(filename="best", monitor="val/loss"), saver(filename="last", save_on_exception=True)]
    callbacks = savers + records(CALLBACKS)
    data = dict(entry.tiny_data)
    schedule = SCHEDULES.get(entry.data, {"schedule": {"name": "cosine"}})
    config = {
        "seed_everything": 3,
        "model": {"class_path": name, "init_args": merged(entry.tiny, noisy(name), schedule)},
        "data": {"class_path": entry.data, "init_args": data | ({"tasks": []} if "tasks" in data else {})},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": callbacks + [{"class_path": "Requeue"}] * requeue,
        },
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass
class Run:
    """One experiment, started again and again until it is done.

    Attributes:
        name: of the algorithm.
        folder: where it works.
        launcher: starts it.
        requeue: with the callback ``Requeue``.
        ends: of the starts so far.
    """

    name: str
    folder: Path
    launcher: Launcher
    requeue: bool = False
    ends: list[End] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_config(self.name, self.folder, self.requeue)

    def start(self, *options: str, fault: dict | None = None, delay: float | None = None) -> End:
        """Begin, or go on with the last checkpoint where there is one."""
        arguments = ["fit", "-c", "tiny.yaml", *options]
        if self.checkpoints():
            arguments += ["--ckpt_path", "last"]
        environment = {FAULT: json.dumps(fault)} if fault else {}
        (end,) = self.launcher.run(Start(arguments, str(self.folder), str(self.folder / "said"), environment, delay))
        self.ends.append(end)
        return end

    def finish(self) -> "Outcome":
        """Go on to the end, undisturbed."""
        end = self.start()
        assert end.status == 0, self.said()
        return outcome(self.folder)

    def checkpoints(self) -> list[Path]:
        """Those that ``last`` may mean."""
        return [path for path in self.folder.glob("runs/tiny/*/checkpoints/*") if path.name in (LAST, PREVIOUS)]

    def said(self) -> str:
        """All that it has written to the terminal."""
        return (self.folder / "said").read_text()


@dataclass
class Outcome:
    """What a run leaves.

    Attributes:
        weights: of the last checkpoint, of averages, optimisers and schedules.
        history: column by column, without clocks.
        results: of the test.
        files: names in the run folder.
        tensorboard: every (metric, step, value) that any start has written.
    """

    weights: dict
    history: dict
    results: dict
    files: list[str]
    tensorboard: set


def outcome(folder: Path) -> Outcome:
    """Read the newest run below a folder."""
    newest = max(folder.glob("runs/tiny/version_*"), key=lambda path: int(path.name.removeprefix("version_")))
    history = json.loads((newest / "history.json").read_text())
    files = [path.name for path in newest.rglob("*") if not path.name.startswith("events.")]
    assert not [name for name in files if "partial" in name or "tmp" in name], files
    return Outcome(
        {name: _state(newest / "checkpoints" / f"{name}.ckpt") for name in ("last", "best")},
        {key: column for key, column in history.items() if _kept(key) and key not in SMOOTHED},
        {key: rows for key, rows in json.loads((newest / "results.json").read_text()).items() if key != "of"},
        sorted(files),
        _tensorboard(newest),
    )


def _state(path: Path) -> dict:
    whole = torch.load(path, weights_only=True) if path.exists() else {}
    return {key: whole[key] for key in (*STATES, *COUNTS) if key in whole}


def _tensorboard(folder: Path) -> set:
    records = set()
    for path in folder.glob("events.*"):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value") and _kept(value.tag):
                    records.add((value.tag, event.step, repr(value.simple_value)))
    return records


def _kept(name: str) -> bool:
    return name != "step" and "second" not in name


def same(one: object, other: object) -> bool:
    """To the last bit; NaN equals NaN."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return repr(one) == repr(other)


def require_same(found: Outcome, whole: Outcome) -> None:
    """All that a run leaves is what the uninterrupted one has left."""
    for file, states in whole.weights.items():
        for part, state in states.items():
            assert same(found.weights[file].get(part), state), f"{part} of {file}.ckpt"
    assert found.history == whole.history
    assert found.results.keys() == whole.results.keys()
    assert repr(found.results) == repr(whole.results)
    assert set(whole.files) <= set(found.files)
    lost, other = whole.tensorboard - found.tensorboard, found.tensorboard - whole.tensorboard
    assert not lost | other, f"TensorBoard: lost {lost}, else {other}"


@dataclass
class Whole:
    """An uninterrupted run, and how much of everything there is in it."""

    outcome: Outcome
    batches: int
    operations: int
    seconds: float


def uninterrupted(name: str, folder: Path, launcher: Launcher) -> Whole:
    """Run it once, counting."""
    run, counted = Run(name, folder, launcher), folder / "counted"
    end = run.start(fault={"kind": "count", "file": str(counted)})
    assert end.status == 0, run.said()
    return Whole(outcome(folder), **json.loads(counted.read_text()), seconds=end.seconds)


def draw_kill(whole: Whole, left: float, draw: random.Random) -> tuple[dict, float | None]:
    """A moment of what is left: at a place of a batch, before a file operation, or after a delay."""
    how = draw.choice(("batch", "file", "delay"))
    if how == "batch":
        batch = draw.randint(1, max(1, round(whole.batches * left)))
        return {"kind": "kill", "batch": batch, "place": draw.choice(PLACES)}, None
    if how == "file":
        return {"kind": "kill", "operation": draw.randint(1, max(2, round(whole.operations * left)))}, None
    return {}, draw.uniform(0.0, whole.seconds * left)


def survive(name: str, folder: Path, launcher: Launcher, whole: Whole, kills: int, seed: str) -> tuple[int, int]:
    """Kill runs at random moments until there were enough kills; each run must end as the uninterrupted one.

    Returns:
        The kills, and the runs that came to their end.
    """
    draw, killed, runs = random.Random(seed), 0, 0  # noqa: S311
    while killed < kills:
        run = Run(name, folder / f"run_{runs}", launcher)
        for number in range(MOST_STARTS):
            left = 1.1 if number < 2 else 0.6  # what is done is not done again
            fault, delay = draw_kill(whole, left, draw) if killed < kills else ({}, None)
            end = run.start(fault=fault, delay=delay)
            if end.status == 0:
                break
            assert end.status == -signal.SIGKILL, f"{fault} {delay}:\n{run.said()}"
            killed += 1
        else:
            raise AssertionError(f"{MOST_STARTS} starts came to no end:\n{run.said()}")
        require_same(outcome(run.folder), whole.outcome)
        runs += 1
    return killed, runs
