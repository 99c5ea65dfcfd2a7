"""The modules by name, each with the datamodule it meets and parameters tiny enough for a test of seconds.

The conformance suite (tests/conformance) runs every entry through every law of the house; an algorithm that is
not listed here does not exist.
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
_TINY_CPO = {"hidden_size": 16, "num_layers": 1, "critic_batch": 16, "cost_limits": {"cost0": 6.0}}
_FEW_ROLLOUTS = {"num_envs": 4, "rollout_length": 4, "val": 4, "test": 4, "eval_envs": 4, "max_episode_steps": 20}

REGISTRY: dict[str, Entry] = {
    "CPO": Entry(data="Rollouts", tiny=_TINY_CPO, tiny_data=_TINY_CMDP, few=_FEW_ROLLOUTS),
    "MotionDDPM": Entry(
        data="MotionClips",
        tiny={"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_train_timesteps": 5, "text_size": 16},
        tiny_data={
            "clips": 24,
            "frames": 24,
            "val": 0.25,
            "test": 0.25,
            "batch_size": 4,
            "steps_per_epoch": 5,
        },
        few={"clips": 12, "frames": 24, "val": 0.25, "test": 0.25, "batch_size": 4},
    ),
    "StateActionDDPM": Entry(
        data="Trajectories",
        tiny={"hidden_size": 16, "num_layers": 2, "num_heads": 2, "num_train_timesteps": 5},
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
        tiny={"hidden_size": 16, "num_layers": 2, "num_heads": 2, "validation_levels": 4},
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
