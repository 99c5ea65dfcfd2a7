"""A policy that acts and is judged by whole episodes."""

from typing import Any, ClassVar, Literal, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from litmotif.batches.rollouts import Act, Episodes
from litmotif.errors import ArgumentError
from litmotif.seeding import generator

from ..core.evaluation import MODEL, EvaluatedModule, by_row
from ..core.normalizer import Standardizer
from .environments import EvaluationLike
from .metrics import EpisodeStatistics, feasibility_first
from .network import CategoricalPolicy, GaussianPolicy, Network, Policy


class Acting(EvaluatedModule):
    """A stochastic policy over standardised observations, under limits on what an episode may cost.

    Args:
        observation_size: D; from the data.
        action_size: A; of choices a list where several are made at once; from the data.
        action_kind: ``continuous`` or ``choices``; from the data.
        action_bounds: [lowest, highest], each of A numbers in the environment's units, or [first, last] of the choices;
            None means -1 and 1, and choices from 0 on; from the data.
        cost_names: of the M costs; from the data.
        cost_limits: limits by name on the undiscounted cost of an episode; costs without one are measured only.
        network: sizes of the policy, and of each critic.
        deterministic: evaluate the likeliest action instead of a drawn one.
        kwargs: of ``BaseModule``.

    Raises:
        ValueError: a limit names a cost that the environment does not have.
    """

    unfit_precisions: ClassVar = frozenset({"bf16-true", "16-true", "64-true"})
    architecture: ClassVar[frozenset[str]] = frozenset(
        {"observation_size", "action_size", "action_kind", "cost_names", "network"}
    )
    dispensable: ClassVar[frozenset[str]] = frozenset({"action_bounds"})
    shapeless: ClassVar[frozenset[str]] = frozenset({"network.log_std"})
    headline: ClassVar[str] = "return"
    progress_bar: ClassVar[tuple[str, ...]] = ("return", "safe")

    def __init__(
        self,
        observation_size: int,
        action_size: int | list[int],
        action_kind: Literal["continuous", "choices"] = "continuous",
        action_bounds: list[list[float]] | None = None,
        cost_names: list[str] | None = None,
        cost_limits: dict[str, float] | None = None,
        network: Network = Network(),
        deterministic: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cost_names, self.limits = list(cost_names or []), dict(cost_limits or {})
        if unknown := set(self.limits) - set(self.cost_names):
            raise ArgumentError(
                f"cost_limits names {sorted(unknown)}; the environment has the costs {self.cost_names or 'none'}."
            )
        kind: Any = GaussianPolicy if action_kind == "continuous" else CategoricalPolicy
        self.policy: Policy = kind(observation_size, action_size, self.group(Network))
        self.observation_moments = Standardizer(observation_size, running=True, limit=10.0)
        self._evaluated: dict[str, EpisodeStatistics] = {}

    # ------------------------------------------------------------------ acting
    def _actor(self, first: int, total: int, source: torch.Generator, deterministic: bool) -> Act:
        """The policy over rows ``first...`` of ``total``; the noise of a row does not depend on the processes."""

        def act(observation: Tensor, step: int) -> Tensor:
            distribution = self.policy(self.observation_moments(observation.to(self.device)))
            if deterministic:
                return self.policy.mode(distribution)
            noise = self.policy.noise(total, source)[first : first + len(observation)]
            return self.policy.act(distribution, noise.to(self.device))

        return act

    @overload
    def act(self, observation: Tensor, seed: int | None = None) -> Tensor: ...

    @overload
    def act(self, observation: "NDArray[Any]", seed: int | None = None) -> "NDArray[Any]": ...

    @torch.no_grad()
    def act(self, observation: "Tensor | NDArray[Any]", seed: int | None = None) -> "Tensor | NDArray[Any]":
        """Actions for observations, for notebooks and robots.

        Args:
            observation: (N, D), or (D,) a single one, as the environment gives it, of any number type; uint8 is divided
                by 255 as in training. Dict and Tuple observations are flattened by ``gymnasium.spaces.flatten``.
            seed: of a drawn action; None takes the likeliest.

        Returns:
            (N, A) in the environment's units, within its bounds; (N,) for one choice; without N for a single
            observation; NumPy for NumPy.

        Raises:
            ValueError: observations of another size.
        """
        given, size = torch.as_tensor(observation), self.hparams["observation_size"]
        if given.ndim not in (1, 2) or given.shape[-1] != size:
            raise ArgumentError(f"observation of shape {tuple(given.shape)} must be (N, {size}), or ({size},).")
        rows = given.reshape(-1, size).to(torch.float32) / (255.0 if given.dtype == torch.uint8 else 1.0)
        source = generator(self.hparams["seed"], seed or 0)
        action = self._in_units(self._actor(0, len(rows), source, deterministic=seed is None)(rows, 0))
        action = action if given.ndim == 2 else action[0]
        return action if isinstance(observation, Tensor) else action.cpu().numpy()

    def _in_units(self, action: Tensor) -> Tensor:
        """Of the environment."""
        continuous, bounds = self.hparams["action_kind"] == "continuous", self.hparams["action_bounds"]
        if bounds is None:
            return action.clamp(-1.0, 1.0) if continuous else action
        low, high = torch.tensor(bounds, dtype=torch.float64, device=action.device)  # (A,) each
        if continuous:
            share = 0.5 * (action.double().clamp(-1.0, 1.0) + 1.0)
            exact = (low + share * (high - low)).to(action.dtype)
            rounded = exact.double()
            outside = (rounded < low) | (rounded > high)  # by the last bit
            inward: Tensor = torch.nextafter(exact, ((low + high) / 2).to(exact))
            return torch.where(outside, inward, exact)
        first: Tensor = low.long()
        return action + (first if action.ndim == 2 else first[:1])

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: EvaluationLike, batch_idx: int) -> None:
        """Episodes of the validation split."""
        self._evaluate(batch, batch_idx, baselines=False)

    def test_step(self, batch: EvaluationLike, batch_idx: int) -> None:
        """Episodes of the test split, and the same for policies to compare with."""
        self._evaluate(batch, batch_idx, baselines=True)

    def predict_step(self, batch: EvaluationLike, batch_idx: int) -> list[dict[str, float]]:
        """One dictionary an episode: return, length, success, costs and measures."""
        episodes = self._episodes(batch, batch_idx)
        columns = {"return": episodes.returns, "length": episodes.lengths, "success": episodes.success}
        columns |= {f"cost_{name}": column for name, column in zip(self.cost_names, episodes.costs.T, strict=True)}
        columns |= episodes.measures
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _episodes(self, batch: EvaluationLike, batch_idx: int) -> Episodes:
        source = generator(self.hparams["seed"], 1, batch_idx)
        return batch.evaluate(self._actor(batch.first, batch.total, source, self.hparams["deterministic"]))

    @torch.no_grad()
    def _evaluate(self, batch: EvaluationLike, batch_idx: int, baselines: bool) -> None:
        outcomes = {MODEL: self._episodes(batch, batch_idx)} | (batch.baselines() if baselines else {})
        for row, episodes in outcomes.items():
            if row not in self._evaluated:
                fresh = EpisodeStatistics(self.cost_names, self.limits, sorted(episodes.measures))
                self._evaluated[row] = fresh.to(self.device)
            self._evaluated[row].update(episodes)

    def results(self, split: str) -> dict[str, Tensor]:
        """What the policy reaches and costs; in a test every baseline beside it."""
        found = {row: statistics.compute() for row, statistics in self._evaluated.items()}
        self._evaluated = {}
        loss = {"loss": torch.as_tensor(feasibility_first(found[MODEL], self.limits))} if found else {}
        return loss | by_row(found)
