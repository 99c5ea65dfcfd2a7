"""A rival for cpo_training.py: CPO with the update formulas of OmniSafe 0.5.0, written from their description.

What differs from litmotif's: the reward term of the dual has the sign of a descent gradient, multipliers are projected
into their intervals by clamping, the gap is the episode cost less the limit, not divided by the episode length, all
costs are summed into one, damping counts as curvature and no step is rescaled to the measured KL.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from lit_models import CPO
from lit_models.cpo.samples import Samples
from lit_models.cpo.trust_region import Floats, Step, TrustRegionSettings


def solve(q: float, r: Floats, s: Floats, c: Floats, delta: float) -> Step:
    """One constraint; cases 4 to 0 as OmniSafe numbers them. No constraint: none that the plain step would violate."""
    if not len(c):
        return Step(float(np.sqrt(2 * delta / (q + 1e-8))), c, "inactive", c, c > 0)
    r0, s0, c0 = float(r[0]), float(s[0, 0]), float(c[0])
    a, room = q - r0**2 / (s0 + 1e-8), 2 * delta - c0**2 / (s0 + 1e-8)
    none = np.zeros(1)
    if c0 < 0 and (s0 < 1e-6 or room < 0):
        return Step(float(np.sqrt(2 * delta / (q + 1e-8))), none, "inactive", none, none > 0)
    if room < 0:
        return Step(0.0, np.array([-np.sqrt(2 * delta / (s0 + 1e-8))]), "infeasible", none, none > 0)
    switch = r0 / c0
    inner, outer = ((0.0, switch), (switch, np.inf)) if c0 < 0 else ((switch, np.inf), (0.0, switch))
    roots = (np.sqrt(max(a, 0.0) / (room + 1e-8)), np.sqrt(q / (2 * delta)))
    lam_a, lam_b = (min(max(x, low), high) for x, (low, high) in zip(roots, (inner, outer), strict=True))
    gain_a = -0.5 * (a / (lam_a + 1e-8) + room * lam_a) - r0 * c0 / (s0 + 1e-8)
    gain_b = -0.5 * (q / (lam_b + 1e-8) + 2 * delta * lam_b)
    lam = lam_a if gain_a >= gain_b else lam_b
    nu = max(0.0, lam * c0 - r0) / (s0 + 1e-8)
    case = "boundary" if c0 < 0 else "recovery"
    return Step(1.0 / (lam + 1e-8), np.array([-nu / (lam + 1e-8)]), case, np.array([nu]), none > 0)


class OmniSafeStyle(CPO):
    """CPO with ``solve`` above and one summed cost.

    Args:
        trust_region: one correction: the full step, and no other radius; then shorter steps.
        kwargs: of ``CPO``.
    """

    solver = staticmethod(solve)

    def __init__(
        self, trust_region: TrustRegionSettings = TrustRegionSettings(corrections=1, backtracks=20), **kwargs: Any
    ) -> None:
        super().__init__(trust_region=trust_region, **kwargs)

    def update_policy(self, samples: Samples) -> dict[str, float]:
        """The same step on the summed cost, in cost an episode."""
        summed = samples.cost_advantages.sum(1, keepdim=True)
        gap = np.array([samples.gaps.sum() * samples.episode_length])
        limited, self.limited = self.limited, self.limited[:1]
        try:
            return super().update_policy(replace(samples, cost_advantages=summed, gaps=gap))
        finally:
            self.limited = limited
