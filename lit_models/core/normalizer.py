"""Standardisation of columns, by statistics that the data gives or that are counted in training."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError

Statistics = dict[str, list[float]]
"""Of columns, by name, as YAML can write them: ``mean`` and ``std``."""
EPSILON = 1e-6
"""Standard deviation of counted rows up to which a column counts as one that does not vary."""


class Standardizer(nn.Module):
    """(x - mean) / std, a column at a time, and back; the identity until there are statistics.

    Statistics are buffers, which a checkpoint keeps. Those of the data reach a module as a hyper-parameter, by the
    ``links`` of the datamodule; those of what a policy meets are merged by count (Chan, Golub and LeVeque 1979), in
    float64.

    Args:
        size: columns F.
        statistics: ``mean`` and ``std`` (F,), see ``fit``; None for later.
        names: of the columns, for messages; None numbers them.
        prefix: before ``mean`` and ``std`` in messages.
        constants: a column that does not vary is refused, or only centred.
        running: rows will be merged.
        limit: what is more deviations away is clipped; None clips nothing.

    Raises:
        ValueError: see ``fit``.
    """

    count: Tensor
    mean: Tensor
    std: Tensor
    square: Tensor

    def __init__(
        self,
        size: int,
        statistics: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        prefix: str = "",
        constants: Literal["refuse", "centre"] = "refuse",
        running: bool = False,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        self.names = [str(column) for column in range(size)] if names is None else list(names)
        self.prefix, self.constants, self.running, self.limit = prefix, constants, running, limit
        dtype = torch.float64 if running else torch.float32
        self.register_buffer("count", torch.zeros((), dtype=dtype))  # rows, or 1 where statistics were given
        self.register_buffer("mean", torch.zeros(size, dtype=dtype))
        self.register_buffer("std", torch.ones(size, dtype=dtype))  # 1 where nothing varies
        self.register_buffer("square", torch.zeros(size, dtype=dtype))  # sum of squared deviations
        self._fitted = False
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        if statistics is not None:
            self.fit(**statistics)

    @property
    def fitted(self) -> bool:
        """Whether there are statistics."""
        if not self._fitted:  # then it stays: reading a buffer makes the device wait
            self._fitted = bool(self.count > 0)
        return self._fitted

    # ------------------------------------------------------------------ statistics
    def fit(self, mean: Any, std: Any) -> None:
        """Take the statistics of the training data.

        Args:
            mean: (F,), a tensor or a sequence.
            std: (F,) >= 0.

        Raises:
            ValueError: a wrong length, a number that is not finite, or a column that does not vary; names the columns.
        """
        found = {"mean": torch.as_tensor(mean, dtype=torch.float64), "std": torch.as_tensor(std, dtype=torch.float64)}
        for name, value in found.items():
            if value.shape != self.mean.shape:
                raise ArgumentError(
                    f"{self.prefix}{name} has shape {tuple(value.shape)} for {len(self.mean)} columns: one number each."
                )
            if bad := self._named(~value.isfinite()):
                raise ArgumentError(f"{self.prefix}{name} is not finite in {bad}: the data has gaps, or too few rows.")
        still = found["std"] <= torch.finfo(torch.float32).eps * found["mean"].abs()  # float32 sees a constant
        if self.constants == "refuse" and (names := self._named(still)):
            raise ArgumentError(
                f"{self.prefix}std is zero in {names}: the column does not vary over the training data. Leave it out, "
                "or give it a std of 1 if it may vary later."
            )
        self.mean.copy_(found["mean"])
        self.std.copy_(torch.where(still, 1.0, found["std"]))
        self.square.copy_(torch.where(still, 0.0, found["std"].square()))
        self.count.fill_(1)

    @staticmethod
    def sums(rows: Tensor) -> Tensor:
        """(1 + 2 F,) count, sum and sum of squares of rows (..., F): what processes add up."""
        flat = rows.reshape(-1, rows.shape[-1]).double()
        return torch.cat((flat.new_tensor([len(flat)]), flat.sum(0), flat.square().sum(0)))

    def merge(self, sums: Tensor) -> None:
        """Take in rows by their ``sums``."""
        count, (total, squares) = sums[0], sums[1:].view(2, -1)
        mean = total / count
        shift, whole = mean - self.mean, self.count + count
        self.square += (squares - count * mean * mean).clamp(min=0.0) + shift * shift * self.count * count / whole
        self.mean += shift * count / whole
        self.count.copy_(whole)
        std = (self.square / whole).sqrt()
        self.std.copy_(torch.where(std > EPSILON, std, 1.0))

    # ------------------------------------------------------------------ use
    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """From physical units (..., F); 0 in rows that are not ``valid`` (...)."""
        mean, std = self._statistics(x)
        x = (x - mean) / std  # (..., F)
        if self.limit is not None:
            x = x.clamp(-self.limit, self.limit)
        return x if valid is None else torch.where(valid[..., None], x, 0.0)

    def physical(self, x: Tensor) -> Tensor:
        """Back to physical units (..., F)."""
        mean, std = self._statistics(x)
        return x * std + mean

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """In the precision of x, though no less than single."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return self.mean.to(dtype), self.std.to(dtype)

    def _named(self, columns: Tensor) -> str:
        """The first columns of a mask (F,), by name."""
        names = [self.names[column] for column in columns.nonzero().flatten().tolist()]
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _forget(module: nn.Module, _: object) -> None:
    """A checkpoint may have had no statistics."""
    if isinstance(module, Standardizer):
        module._fitted = False
