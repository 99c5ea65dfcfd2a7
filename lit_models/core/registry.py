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


REGISTRY: dict[str, Entry] = {
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
        few={"train": 12, "val": 4, "test": 4},
    ),
}
