from .core.checkpoint import load as load
from .cpo.module import CPO as CPO
from .cpo.ppo_lagrangian import PPOLagrangian as PPOLagrangian
from .ddpm.module import StateActionDDPM as StateActionDDPM
from .ddpm.motion.module import MotionDDPM as MotionDDPM
from .mdlm.module import MDLMDiT as MDLMDiT

__version__: str
__all__: list[str]
