from .ema import EMAWeights as EMAWeights
from .figures import Figures as Figures
from .history import RunHistory as RunHistory
from .motions import WriteMotions as WriteMotions
from .requeue import Requeue as Requeue
from .results import ResultsTable as ResultsTable

__version__: str
__all__: list[str]
