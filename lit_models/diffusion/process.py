"""Gaussian diffusion with a noise level of its own for each token.

q(x_k | x_0) = N(sqrt(alpha_bar_k) x_0, 1 - alpha_bar_k), with alpha_bar_k the product of 1 - beta over the first k
steps (Ho et al., arXiv:2006.11239, eq. 4). Levels k run from 0, which is clean, to K = ``num_train_timesteps``; level k
is what diffusers calls timestep k - 1, and a clean token has no counterpart there. Levels are int64 and have the shape
of x without its last axis, the features, or one that broadcasts to it: (B, T), (B, 1), (T,) or ().

A path of levels (N + 1, ...) is where a sampler stops on its way from noise to clean.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

PredictionType = Literal["epsilon", "sample", "v_prediction"]
LossWeighting = Literal["uniform", "snr", "min_snr"]
TimestepSpacing = Literal["trailing", "linspace", "leading", "log_snr"]

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
LOSS_WEIGHTINGS = ("uniform", "snr", "min_snr")

TERMINAL_SIGNAL = 1e-3
"""Largest alpha_bar_K at which the last level still passes for pure noise."""
TRACE = 4e-3
"""Share of noise in the variance at which ``log_snr`` takes its last step."""


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Require one of the choices.

    Raises:
        ValueError: another value; names the key and the choices.
    """
    if value not in choices:
        raise ArgumentError(f"{key}={value!r}: choose one of {', '.join(choices)}.")


@dataclass(frozen=True, eq=False)
class Diffusion:
    """The forward process of one stream and what its network predicts.

    Attributes:
        alpha_bar: share of the variance that is signal at each level (K + 1,) float64, 1 at level 0.
        prediction_type: what the network gives: ``epsilon``, ``sample`` (x_0) or ``v_prediction``, v = sqrt(alpha_bar)
            epsilon - sqrt(1 - alpha_bar) x_0 (Salimans and Ho, arXiv:2202.00512, appendix D).
        x0_variance: mean squared error of x_0-hat at each level (K + 1, 1) or (K + 1, D) float64, which
            ``DDPM(variance_type="analytic")`` reads; None if nobody measured it.
    """

    alpha_bar: Tensor
    prediction_type: PredictionType
    x0_variance: Tensor | None = None

    @property
    def num_train_timesteps(self) -> int:
        """The level K of pure noise."""
        return len(self.alpha_bar) - 1

    @property
    def betas(self) -> Tensor:
        """Variance that each step adds (K,) float64."""
        return 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]

    def to(self, device: torch.device | str) -> "Diffusion":
        """The same process with its table on ``device``."""
        if self.alpha_bar.device == torch.device(device):
            return self
        variance = None if self.x0_variance is None else self.x0_variance.to(device)
        return replace(self, alpha_bar=self.alpha_bar.to(device), x0_variance=variance)

    def scales(self, levels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Factors of signal and noise: x_k = signal * x_0 + noise_scale * epsilon.

        Args:
            levels: int64 (...), 0 to K.
            dtype: of the result; the table itself is float64, where 1 - alpha_bar keeps its digits.

        Returns:
            sqrt(alpha_bar) and sqrt(1 - alpha_bar), each (..., 1).
        """
        kept = self.alpha_bar[levels].unsqueeze(-1)
        return kept.sqrt().to(dtype), (1 - kept).sqrt().to(dtype)

    def add_noise(self, x0: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Draw from q(x_k | x_0), Ho et al., eq. 4: level 0 gives x_0 back, bit for bit.

        Args:
            x0: clean (..., D).
            noise: standard normal, the shape of x0.
            levels: (...).

        Returns:
            x_k (..., D).
        """
        signal, sigma = self.scales(levels, x0.dtype)
        return signal * x0 + sigma * noise

    def renoise(self, x: Tensor, noise: Tensor, levels: Tensor, to: Tensor) -> Tensor:
        """Draw from q(x_to | x_levels) for ``to`` >= ``levels``; at level K what comes out is ``noise`` alone.

        Args:
            x: at ``levels`` (..., D).
            noise: standard normal, the shape of x.
            levels: (...).
            to: (...).

        Returns:
            x at ``to`` (..., D); unchanged, bit for bit, where the two are equal.

        Raises:
            ValueError: a level that would fall.
        """
        if (to < levels).any():
            raise ArgumentError("renoise raises levels of noise; lowering them takes a denoiser and a sampler.")
        kept = (self.alpha_bar[to] / self.alpha_bar[levels]).unsqueeze(-1)
        kept = torch.where((to == self.num_train_timesteps).unsqueeze(-1) & (kept < 1), 0.0, kept)
        return kept.sqrt().to(x.dtype) * x + (1 - kept).sqrt().to(x.dtype) * noise

    def target(self, x0: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """What the network shall predict.

        Args:
            x0: clean (..., D).
            noise: the noise that ``add_noise`` mixed in (..., D).
            levels: (...).

        Returns:
            noise, x0 or v (..., D), by ``prediction_type``.
        """
        if self.prediction_type == "sample":
            return x0
        if self.prediction_type == "epsilon":
            return noise
        signal, sigma = self.scales(levels, x0.dtype)
        return signal * noise - sigma * x0

    def convert(self, value: Tensor, x: Tensor, levels: Tensor, source: PredictionType, to: PredictionType) -> Tensor:
        """Turn one of x_0, epsilon and v into another, given x_k.

        Args:
            value: of type ``source`` (..., D).
            x: x_k (..., D).
            levels: (...).
            source: type of ``value``.
            to: type of the result.

        Returns:
            (..., D). At level 0, x_k and x_0 say nothing of epsilon, which is then 0.

        Raises:
            ValueError: an unknown type.
        """
        check_choice("source", source, PREDICTION_TYPES)
        check_choice("to", to, PREDICTION_TYPES)
        if source == to:
            return value
        of_x, of_value = self.conversion(levels, source, to)
        return of_x.to(x.dtype) * x + of_value.to(x.dtype) * value

    def conversion(self, levels: Tensor, source: PredictionType, to: PredictionType) -> tuple[Tensor, Tensor]:
        """Factors (p, q) with ``to`` = p x_k + q ``source``, each (..., 1) float64."""
        signal, sigma = self.scales(levels, torch.float64)
        match source, to:
            case "epsilon", "sample":
                return 1 / signal, -sigma / signal
            case "epsilon", "v_prediction":
                return -sigma / signal, 1 / signal
            case "v_prediction", "sample":
                return signal, -sigma
            case "v_prediction", "epsilon":
                return sigma, signal
            case "sample", ("epsilon" | "v_prediction"):
                per_sigma = torch.where(sigma > 0, 1 / sigma, 0.0)
                if to == "v_prediction":
                    return signal * per_sigma, -per_sigma
                return per_sigma, -signal * per_sigma
        return torch.zeros_like(signal), torch.ones_like(signal)

    def to_x0(self, prediction: Tensor, x: Tensor, levels: Tensor) -> Tensor:
        """x_0-hat from what the network predicts at x_k: all (..., D), levels (...)."""
        return self.convert(prediction, x, levels, self.prediction_type, "sample")

    def posterior(self, x: Tensor, x0: Tensor, levels: Tensor, to: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(x_to | x_k, x_0), Ho et al., eq. 7, for any ``to`` <= k.

        Args:
            x: x_k (..., D).
            x0: (..., D).
            levels: k (...).
            to: (...); None takes k - 1. Where it equals k nothing happens: mean x, variance 0.

        Returns:
            Mean (..., D) and variance (..., 1).
        """
        of_x, of_x0, variance = self.posterior_factors(levels, (levels - 1).clamp(min=0) if to is None else to)
        return of_x.to(x.dtype) * x + of_x0.to(x.dtype) * x0, variance.to(x.dtype)

    def posterior_factors(self, levels: Tensor, to: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(p, q, variance) of q(x_to | x_k, x_0) with mean p x_k + q x_0, each (..., 1) float64."""
        here, there = self.alpha_bar[levels].unsqueeze(-1), self.alpha_bar[to].unsqueeze(-1)
        noisy, step = here < 1, here / there
        lost = torch.where(noisy, 1 - here, 1.0)
        of_x = torch.where(noisy, step.sqrt() * (1 - there) / lost, 1.0)
        added = (1 - step) / lost  # 0 where a level stays
        return of_x, there.sqrt() * added, (1 - there) * added

    def snr(self, levels: Tensor) -> Tensor:
        """Signal-to-noise ratio alpha_bar / (1 - alpha_bar): float64 of the shape of ``levels``, inf at level 0."""
        kept = self.alpha_bar[levels]
        return kept / (1 - kept)

    def loss_weight(self, levels: Tensor, weighting: LossWeighting = "uniform", snr_gamma: float = 5.0) -> Tensor:
        """Weight of a token's squared error in the units of its prediction.

        With w the weight of the error of x_0, that of epsilon weighs w / SNR and that of v weighs w / (SNR + 1), since
        the errors differ by these factors. ``snr`` is w = SNR, the plain loss of epsilon; ``min_snr`` is w = min(SNR,
        gamma) (Hang et al., arXiv:2303.09556, section 3.4); ``uniform`` is 1 whatever is predicted.

        Args:
            levels: (...).
            weighting: which.
            snr_gamma: where ``min_snr`` cuts, > 0; 5 in the paper.

        Returns:
            float32 of the shape of ``levels``; 0 at level 0, where there is nothing to learn.

        Raises:
            ValueError: an unknown weighting, or a gamma that is not positive.
        """
        check_choice("loss_weighting", weighting, LOSS_WEIGHTINGS)
        if snr_gamma <= 0:
            raise ArgumentError(f"snr_gamma={snr_gamma}: a positive number, 5 in the paper.")
        noisy = levels > 0
        snr = torch.where(noisy, self.snr(levels), 1.0)
        if weighting == "uniform":
            return noisy.float()
        weight = snr if weighting == "snr" else snr.clamp(max=snr_gamma)
        if self.prediction_type == "epsilon":
            weight = weight / snr
        elif self.prediction_type == "v_prediction":
            weight = weight / (snr + 1)
        return (weight * noisy).float()

    def draw_levels(self, shape: tuple[int, ...], generator: torch.Generator, low: int = 0) -> Tensor:
        """Levels for training, uniform over ``low``..K and independent: (B, T) for tokens, (B, 1) for whole windows."""
        high = self.num_train_timesteps + 1
        return torch.randint(low, high, shape, generator=generator, device=generator.device)


def level_path(start: Tensor, stop: Tensor, steps: int) -> Tensor:
    """Levels on equal steps from ``start`` down to ``stop``, each token at its own speed.

    Args:
        start: int64 (...), such as () for all tokens or (T,) for a ramp along the horizon.
        stop: int64 (...), nowhere above ``start``.
        steps: model evaluations N >= 1.

    Returns:
        (N + 1, ...) int64, never rising; ``timestep_spacing="trailing"`` of diffusers for start K and stop 0.

    Raises:
        ValueError: no step, or a level that would rise.
    """
    if steps < 1:
        raise ArgumentError(f"num_inference_steps={steps}: at least 1 step is needed.")
    if (stop > start).any():
        raise ArgumentError("a path of levels rises: sampling only lowers noise.")
    share = torch.arange(steps + 1, dtype=torch.float64, device=start.device) / steps
    share = share.reshape(-1, *[1] * max(start.dim(), stop.dim()))
    return (start - (start - stop) * share).round().long()


def uniform_path(
    num_train_timesteps: int, num_inference_steps: int, timestep_spacing: TimestepSpacing = "trailing"
) -> Tensor:
    """One path for all tokens, from noise to clean.

    Args:
        num_train_timesteps: level K of pure noise.
        num_inference_steps: model evaluations N, 1 to K.
        timestep_spacing: as in diffusers; ``leading`` starts below K (Lin et al., arXiv:2305.08891, table 2).

    Returns:
        (N + 1,) int64, falling to 0.

    Raises:
        ValueError: an unknown spacing, or N outside 1..K.
    """
    top, steps = num_train_timesteps, num_inference_steps
    if not 1 <= steps <= top:
        raise ArgumentError(f"num_inference_steps={steps}: 1 to num_train_timesteps={top}.")
    if timestep_spacing == "trailing":
        return level_path(torch.tensor(top), torch.tensor(0), steps)
    if timestep_spacing == "linspace":
        levels = torch.linspace(0, top - 1, steps, dtype=torch.float64).round().long().flip(0) + 1
    elif timestep_spacing == "leading":
        levels = torch.arange(steps).flip(0) * (top // steps) + 1
    else:
        raise ArgumentError(f"timestep_spacing={timestep_spacing!r}: 'trailing', 'linspace', 'leading' or 'log_snr'.")
    return torch.cat([levels, torch.zeros(1, dtype=torch.long)])


def make_path(diffusion: Diffusion, num_inference_steps: int, timestep_spacing: TimestepSpacing = "trailing") -> Tensor:
    """One path for all tokens, from noise to clean, by any spacing.

    ``log_snr`` takes equal steps of log SNR, in which the solvers' errors are measured (Lu et al., arXiv:2206.00927,
    section 4), from where signal comes up to where noise is a trace; pure noise and clean data lie one step beyond. Of
    all spacings it alone takes a Gaussian with correlated columns within 1 % in 20 steps of DPM-Solver++, if there are
    more levels to choose from.

    Args:
        diffusion: the process.
        num_inference_steps: model evaluations N, 1 to K.
        timestep_spacing: see ``uniform_path``, or ``log_snr``.

    Returns:
        (N + 1,) int64, falling to 0.

    Raises:
        ValueError: an unknown spacing, or N outside 1..K.
    """
    top, steps = diffusion.num_train_timesteps, num_inference_steps
    if timestep_spacing != "log_snr":
        return uniform_path(top, steps, timestep_spacing)
    path = uniform_path(top, steps)
    log_snr = diffusion.snr(torch.arange(1, top + 1, device=diffusion.alpha_bar.device)).log().cpu()  # falling
    ends = torch.tensor([TERMINAL_SIGNAL, 1 - TRACE], dtype=torch.float64).logit()
    wanted = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, steps, dtype=torch.float64))
    nearest = (log_snr - wanted[:, None]).abs().argmin(dim=1) + 1
    for i in range(1, steps):  # as near as a path allows that falls by a level at least in each step
        path[i] = nearest[i].clamp(steps - i, int(path[i - 1]) - 1)
    return path
