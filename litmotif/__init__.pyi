from callbacks import *
from datamodules import *
from lit_models import *

__version__: str
