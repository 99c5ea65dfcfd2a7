from .minigrid.datamodule import MiniGridPlans as MiniGridPlans
from .motion.datamodule import MotionClips as MotionClips
from .music.datamodule import MusicFrames as MusicFrames
from .rollouts.datamodule import Rollouts as Rollouts
from .trajectories.datamodule import Trajectories as Trajectories

__version__: str
__all__: list[str]
