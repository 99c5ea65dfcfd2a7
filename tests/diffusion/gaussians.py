"""Gaussian data: its exact denoiser, and the exact law of what a sampler makes of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_models.diffusion.samplers import single


@dataclass
class Gaussian:
    """Data of one mean (n,) and covariance (n, n), float64: one token of n columns, or n tokens of one column."""

    mean: Tensor
    covariance: Tensor

    def denoiser(self, diffusion):
        """E[x_0 | x_k] for any levels of the tokens, as the type that ``diffusion`` predicts."""

        def predict(x, levels):
            flat = x.flatten(1)
            signal, sigma = diffusion.scales(levels[0].repeat_interleave(x.shape[-1]), torch.float64)
            signal, sigma = signal[:, 0], sigma[:, 0]
            seen = signal[:, None] * self.covariance * signal + sigma.square().diag()
            gain = self.covariance * signal @ torch.linalg.pinv(seen, hermitian=True)
            x0 = self.mean + (flat - signal * self.mean) @ gain.T
            return diffusion.convert(x0.view_as(x), x, levels, "sample", diffusion.prediction_type)

        return predict

    def measured(self, diffusion):
        """The process with the variance that x_0-hat leaves in each column (K + 1, n)."""
        eye, variance = torch.eye(len(self.mean), dtype=torch.float64), []
        for kept in diffusion.alpha_bar:
            gain = kept * self.covariance @ torch.linalg.inv(kept * self.covariance + (1 - kept + 1e-300) * eye)
            variance.append((self.covariance - gain @ self.covariance).diagonal())
        return replace(diffusion, x0_variance=torch.stack(variance))


def law(sampler, truth, diffusion, path, known=None, tokens=False, start_only=False, guidance=None):
    """Mean (n,) and covariance (n, n) of what ``sampler`` makes of noise: a linear map, taken at a basis.

    Row 0 starts from 0 and draws no noise; each other row has one entry of the start or of one draw set to 1. With
    ``known``, entries whose path starts at 0 are these; with ``tokens``, entries are tokens of one column;
    ``start_only`` is for samplers without noise that cannot be handed their draws. A cost reads the stream as it is.
    """
    size, steps = len(truth.mean), len(path) - 1
    shape = (size, 1) if tokens else (1, size)
    basis = torch.cat([torch.zeros(1, (steps + 1) * size), torch.eye((steps + 1) * size)]).double()
    blocks = iter(basis.view(-1, steps + 1, *shape).unbind(1))
    start = next(blocks).clone()
    free = (path[0] > 0).expand(shape[0])
    if known is not None:
        start[:, ~free] = known.view(shape)[~free]
    denoise, guide = single(truth.denoiser(diffusion)), None
    if guidance is not None:
        denoise, guide = guidance.attach(denoise, (diffusion,), lambda streams: (streams[0], streams[0]))

    def noise(wanted, dtype):
        return torch.zeros(wanted, dtype=dtype) if start_only else next(blocks).clone()

    (end,) = sampler.sample(denoise, (diffusion,), (start,), (path,), noise, guide)
    end = end.flatten(1)
    away = end[1:] - end[0]
    return end[0], away.T @ away
