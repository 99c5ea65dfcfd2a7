"""Samplers by name, as YAML writes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from litmotif.errors import ArgumentError

from .diffusers_sampler import DiffusersSampler
from .samplers import DDIM, DDPM, DPMSolver, Sampler

SamplerName = Literal["ddpm", "ddim", "dpm_solver", "diffusers"]
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "dpm_solver": DPMSolver,
    "diffusers": DiffusersSampler,
}


@dataclass(frozen=True)
class Sampling:
    """Sampling of a diffusion.

    Attributes:
        sampler: ``ddpm``, ``ddim``, ``dpm_solver`` or ``diffusers``.
        options: of its constructor, such as ``{eta: 1.0}`` or ``{class_path: ...}``.
        steps: model evaluations; None takes one a level.
    """

    sampler: SamplerName = "ddim"
    options: dict[str, Any] | None = None
    steps: int | None = None


def make_sampler(name: SamplerName, options: Mapping[str, Any] | None) -> Sampler:
    """A sampler by name.

    Args:
        name: ``ddpm``, ``ddim``, ``dpm_solver``, or ``diffusers`` with a ``class_path``.
        options: of its constructor.

    Raises:
        ValueError: an unknown name or option.
    """
    if name not in SAMPLERS:
        raise ArgumentError(f"sampler={name!r}: choose one of {', '.join(SAMPLERS)}.")
    try:
        return SAMPLERS[name](**dict(options or {}))
    except TypeError as error:
        raise ArgumentError(f"sampling.options of sampler={name!r}: {error}.") from error
