"""Registry of the public modules, each with the datamodule it meets and parameters tiny enough for a test of seconds.

The conformance suite runs every entry through every law of the house.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One algorithm: its datamodule by name, and tiny ``init_args`` for both.

    Attributes:
        data: name of the datamodule in ``datamodules``.
        tiny: ``init_args`` of the module for a test of seconds.
        tiny_data: ``init_args`` of the datamodule for a test of seconds.
        few: what shrinks the data of any config to a test of seconds.
    """

    data: str
    tiny: Mapping[str, Any] = field(default_factory=dict)
    tiny_data: Mapping[str, Any] = field(default_factory=dict)
    few: Mapping[str, Any] = field(default_factory=dict)


_TINY_CMDP = {
    "env": "litmotif/TabularCMDP-v0",
    "num_envs": 8,
    "rollout_length": 6,
    "steps_per_epoch": 5,
    "val": 6,
    "test": 6,
    "eval_envs": 4,
}
_TINY_CPO = {
    "network": {"hidden_size": 16, "num_layers": 1},
    "critics": {"batch": 16},
    "cost_limits": {"cost0": 6.0},
}
_FEW_ROLLOUTS = {"num_envs": 4, "rollout_length": 4, "val": 4, "test": 4, "eval_envs": 4, "max_episode_steps": 20}
_FEW_CLIPS = {"clips": 12, "frames": 24, "val": 0.25, "test": 0.25, "batch_size": 4}
_TINY_CLIPS = {"clips": 24, "frames": 24, "val": 0.25, "test": 0.25, "batch_size": 4, "steps_per_epoch": 5}

_TINY_SEQUENCE = {"network": {"backbone": "gru", "hidden_size": 16, "num_layers": 1}}
_TINY_FRAMES = {"songs": 24, "split": [0.5, 0.25, 0.25], "frames": 16, "batch_size": 4, "steps_per_epoch": 5}


def _sequence(task: str) -> Entry:
    """A module on frames of music."""
    return Entry(
        data="MusicFrames",
        tiny=_TINY_SEQUENCE,
        tiny_data=_TINY_FRAMES | {"task": task},
        few={"songs": 12, "split": [0.5, 0.25, 0.25], "batch_size": 4},
    )


REGISTRY: dict[str, Entry] = {
    "CPO": Entry(data="Rollouts", tiny=_TINY_CPO, tiny_data=_TINY_CMDP, few=_FEW_ROLLOUTS),
    "DynamicsEngine": _sequence("dynamics"),
    "EmotionRecognizer": _sequence("emotion"),
    "GroovePredictor": _sequence("groove"),
    "HarmonyPredictor": _sequence("harmony"),
    "MelodyTransformer": _sequence("melody"),
    "MotionDDPM": Entry(
        data="MotionClips",
        tiny={
            "network": {"hidden_size": 16, "num_layers": 1, "num_heads": 2},
            "process": {"num_train_timesteps": 5},
            "text": {"size": 16},
        },
        tiny_data=_TINY_CLIPS,
        few=_FEW_CLIPS,
    ),
    "MotionEvaluator": Entry(
        data="MotionClips",
        tiny={"network": {"hidden_size": 16, "feature_size": 8}, "text": {"size": 16}},
        tiny_data=_TINY_CLIPS,
        few=_FEW_CLIPS,
    ),
    "StateActionDDPM": Entry(
        data="Trajectories",
        tiny={
            "network": {"hidden_size": 16, "num_layers": 2, "num_heads": 2},
            "process": {"num_train_timesteps": 5},
        },
        tiny_data={
            "episodes": 8,
            "episode_seconds": 3.0,
            "history": 2,
            "horizon": 6,
            "val": 0.25,
            "test": 0.25,
            "tasks": ["joystick"],
            "task_episodes": 2,
            "batch_size": 4,
            "steps_per_epoch": 5,
            "eval_stride": 9,
        },
        few={
            "episodes": 8,
            "episode_seconds": 6.0,
            "val": 0.25,
            "test": 0.25,
            "tasks": [],
            "batch_size": 4,
        },
    ),
    "PPOLagrangian": Entry(data="Rollouts", tiny=_TINY_CPO, tiny_data=_TINY_CMDP, few=_FEW_ROLLOUTS),
    "MDLMDiT": Entry(
        data="MiniGridPlans",
        tiny={"network": {"hidden_size": 16, "num_layers": 2, "num_heads": 2}, "objective": {"validation_levels": 4}},
        tiny_data={
            "env": "MiniGrid-Empty-5x5-v0",
            "env_kwargs": {"agent_start_pos": None},
            "train": 20,
            "val": 6,
            "test": 6,
            "batch_size": 4,
        },
        few={"train": 12, "val": 4, "test": 4, "batch_size": 4},
    ),
}
