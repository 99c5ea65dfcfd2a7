"""Vector environment of Stable-Baselines3 over a batched simulator: its algorithms learn at the rate of the batch.

from stable_baselines3 import PPO
PPO("MlpPolicy", SB3VecEnv("litmotif/ExoskeletonLeg-v0", 64, level=1)).learn(100_000)
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from litmotif.errors import ArgumentError, MissingExtraError

from .base import BatchedEnv

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError("SB3VecEnv needs Stable-Baselines3.", "Remedy: pip install 'litmotif[sb3]'") from error

Array = NDArray[Any]


class SB3VecEnv(VecEnv):
    """N simulators as Stable-Baselines3 takes them: arrays, and an end that begins anew within the step.

    ``infos[i]`` holds ``cost`` and each cost by name, and at an end ``is_success``, ``terminal_observation`` and
    ``TimeLimit.truncated``. ``VecMonitor`` around it logs returns and lengths.

    Args:
        env: id of one of our simulators, or one that was made.
        num_envs: N.
        seed: of row 0, the others follow; None draws one.
        **kwargs: of the simulator.

    Raises:
        ValueError: an environment that is no batched simulator: ``make_vec_env`` of Stable-Baselines3 takes those.
    """

    def __init__(self, env: str | BatchedEnv, num_envs: int = 64, seed: int | None = None, **kwargs: Any) -> None:
        made = gymnasium.make_vec(env, num_envs, "vector_entry_point", **kwargs) if isinstance(env, str) else env
        batch = made.unwrapped
        if not isinstance(batch, BatchedEnv) or batch.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ArgumentError(
                f"{env!r} is no batched simulator that begins anew within the step; scalar environments are for "
                "stable_baselines3.common.env_util.make_vec_env."
            )
        self.batch, self.render_mode = batch, batch.render_mode
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)
        self.first: int | None = seed
        """Seed of row 0 at the next ``reset``."""

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seeds of the rows at the next ``reset``; None goes on with the next episodes."""
        self.first = seed
        return [None if seed is None else seed + row for row in range(self.num_envs)]

    def reset(self) -> Array:
        """Begin all episodes anew: those that ``seed`` has named, or the next ones."""
        observation, _ = self.batch.reset(seed=self.first)
        self.first = None
        return np.asarray(observation)

    def step_async(self, actions: Array) -> None:
        """Keep the actions for ``step_wait``."""
        self.asked = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Observation (N, D), reward (N,), done (N,), N infos."""
        observation, reward, terminated, truncated, told = self.batch.step(np.asarray(self.asked))
        done = terminated | truncated
        columns = {"cost": told["cost"], **dict(zip(self.batch.cost_names, told["costs"].T, strict=True))}
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        infos: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in rows]
        for row in done.nonzero()[0]:
            infos[row]["terminal_observation"] = told["final_obs"][row]
            infos[row]["TimeLimit.truncated"] = bool(truncated[row])
            infos[row]["is_success"] = bool(told["success"][row])
        return observation, reward, done, infos

    def close(self) -> None:
        """Let go of windows."""
        self.batch.close()

    def get_images(self) -> "Sequence[Array | None]":
        """Row 0, as the simulator draws it."""
        return [self.batch.render()]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the simulator, once a row."""
        return [getattr(self.batch, attr_name)] * self._rows(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the simulator, which all rows share."""
        setattr(self.batch, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the simulator; its answer, once a row."""
        answer = getattr(self.batch, method_name)(*method_args, **method_kwargs)
        return [answer] * self._rows(indices)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No row is."""
        return [False] * self._rows(indices)

    def _rows(self, indices: Any) -> int:
        """How many rows these are: all, one, or several."""
        return self.num_envs if indices is None else 1 if isinstance(indices, int) else len(list(indices))
