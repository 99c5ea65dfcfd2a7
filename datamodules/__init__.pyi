from .minigrid.datamodule import MiniGridPlans as MiniGridPlans
from .rollouts.datamodule import Rollouts as Rollouts

__version__: str
__all__: list[str]
