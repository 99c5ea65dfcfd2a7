"""Prediction tasks: each a pure function from a song to frames."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from litmotif.errors import DataError

from .base import Frames, Task
from .dynamics import Dynamics
from .emotion import Emotion
from .groove import Groove
from .harmony import Harmony
from .melody import Melody
from .polyphony import Polyphony

TaskName = Literal["melody", "polyphony", "harmony", "dynamics", "groove", "emotion"]
TASKS: dict[str, type[Task]] = {task.name: task for task in (Melody, Polyphony, Harmony, Dynamics, Groove, Emotion)}

__all__ = ["TASKS", "Frames", "Task", "TaskName", "make_task"]


def make_task(name: str, options: Mapping[str, Any]) -> Task:
    """A task by its name.

    Raises:
        DataError: there is no such task, or it has no such option.
    """
    if name not in TASKS:
        raise DataError(f"data.task={name!r}: one of {', '.join(TASKS)}.")
    known = list(inspect.signature(TASKS[name]).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise DataError(f"data.task_options: {', '.join(unknown)}: the options of {name} are {', '.join(known)}.")
    return TASKS[name](**options)
