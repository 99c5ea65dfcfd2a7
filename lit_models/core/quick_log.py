"""``log`` without what Lightning checks and builds anew at each call: the same numbers, sooner."""

from typing import Any

import torch
from lightning.pytorch import LightningModule

STEP = "training_step"


class QuickLog(LightningModule):
    """Hands a scalar of ``training_step`` straight to the accumulator that Lightning has made for its name.

    The first call under a name in an epoch goes Lightning's own way, as do other hooks, options and kinds of values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged_with: dict[str, dict[str, Any]] = {}

    def log(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        """As ``LightningModule.log``."""
        settings = {key: option for key, option in options.items() if key != "batch_size"}
        scalar = None if args or self._logged_with.get(name) != settings else self._as_scalar(value)
        accumulator = None if scalar is None else self._accumulator(name, scalar.device)
        rows = options.get("batch_size")
        if scalar is None or accumulator is None or rows is None:
            super().log(name, value, *args, **options)
            if self._current_fx_name == STEP and not args:
                self._logged_with[name] = settings
            return
        accumulator._computed = None
        accumulator._update_count += 1
        type(accumulator).update(accumulator, scalar, rows)  # without what torchmetrics wraps around each instance's

    def _as_scalar(self, value: Any) -> torch.Tensor | None:
        if type(value) is float:
            return torch.tensor(value, dtype=torch.get_default_dtype(), device=self.device)
        return value.detach() if isinstance(value, torch.Tensor) and value.dim() == 0 else None

    def _accumulator(self, name: str, device: torch.device) -> Any:
        trainer: Any = self._trainer
        results = trainer and trainer._results
        if not results or not self._current_fx_name == trainer._logger_connector._current_fx == STEP:
            return None
        known = results.get(f"{STEP}.{name}")
        usable = known is not None and known.is_tensor and not known.has_reset and known.value.device == device
        return known if usable else None
