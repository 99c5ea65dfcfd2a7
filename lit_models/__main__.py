"""``python -m lit_models`` is ``litmotif``."""

import sys

from .cli import main

sys.exit(main())
