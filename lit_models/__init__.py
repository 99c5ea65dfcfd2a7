"""LightningModules: each public name is a LightningModule, or a function that gives one back.

The names are listed in ``__init__.pyi`` and imported when first used, so that ``import lit_models`` is light.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
