from .core.checkpoint import load as load
from .mdlm.module import MDLMDiT as MDLMDiT

__version__: str
__all__: list[str]
