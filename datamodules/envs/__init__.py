"""Batched simulators of shared control, as Gymnasium environments.

Importing this package registers them: ``gymnasium.make("litmotif/Wheelchair-v0")`` for one episode,
``gymnasium.make_vec("litmotif/Wheelchair-v0", 1024)`` for many in one set of tensors.
"""

from functools import partial

import gymnasium

from .base import MAX_EPISODE_STEPS
from .base import BatchedEnv as BatchedEnv
from .scalar import ScalarEnv

_NAMES = {
    "Wheelchair-v0": "wheelchair:Wheelchair",
    "ExoskeletonLeg-v0": "exoskeleton_leg:ExoskeletonLeg",
    "ExoskeletonArm-v0": "exoskeleton_arm:ExoskeletonArm",
    "TabularCMDP-v0": "tabular:TabularCMDP",
}

for _id, _where in _NAMES.items():
    gymnasium.register(
        f"litmotif/{_id}",
        entry_point=partial(ScalarEnv, f"{__name__}.{_where}"),
        vector_entry_point=f"{__name__}.{_where}",
        max_episode_steps=MAX_EPISODE_STEPS,
    )
