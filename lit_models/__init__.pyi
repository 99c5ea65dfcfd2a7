from .core.checkpoint import load as load
from .cpo.module import CPO as CPO
from .cpo.ppo_lagrangian import PPOLagrangian as PPOLagrangian
from .mdlm.module import MDLMDiT as MDLMDiT
from .midi.dynamics import DynamicsEngine as DynamicsEngine
from .midi.emotion import EmotionRecognizer as EmotionRecognizer
from .midi.groove import GroovePredictor as GroovePredictor
from .midi.harmony import HarmonyPredictor as HarmonyPredictor
from .midi.melody import MelodyTransformer as MelodyTransformer
from .motion.judge.module import MotionEvaluator as MotionEvaluator
from .motion.module import MotionDDPM as MotionDDPM
from .state_action.module import StateActionDDPM as StateActionDDPM

__version__: str
__all__: list[str]
