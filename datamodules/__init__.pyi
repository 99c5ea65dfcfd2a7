from .minigrid.datamodule import MiniGridPlans as MiniGridPlans

__version__: str
__all__: list[str]
