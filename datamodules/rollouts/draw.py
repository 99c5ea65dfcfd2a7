"""Scenes of an episode."""

from copy import copy
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..envs.base import State, take
from .source import BatchedSource, Source


class Film:
    """Remembers the first episode of an evaluation, and draws moments of it when asked."""

    def __init__(self) -> None:
        self._env: Any = None
        self._states: list[State] = []

    def watch(self, source: Source, step: int) -> None:
        """Keep the state before a step."""
        if not isinstance(source, BatchedSource):
            return
        if step == 0:
            self._env, self._states = copy(source.env), []
            self._env.render_mode = "rgb_array"
        if not self._states or int(source.env.episode[0]) == 0:
            rows = source.env.episode.new_zeros(1)
            self._states.append({name: value.clone() for name, value in take(source.env.state, rows).items()})

    def frames(self, count: int | None = None) -> "list[np.ndarray[Any, Any]]":
        """Pictures (H, W, 3) uint8, evenly spread over the episode; None draws every step."""
        if not self._states:
            return []
        moments = range(len(self._states))
        if count is not None:
            moments = np.linspace(0, len(self._states) - 1, min(count, len(self._states))).astype(int)  # type: ignore[assignment]
        pictures = []
        for moment in moments:
            self._env.state = self._states[int(moment)]
            picture = self._env.render()
            if picture is not None:
                pictures.append(np.asarray(picture))
        return pictures

    def figure(self, scenes: int = 6) -> Figure | None:
        """One picture of several moments."""
        frames = self.frames(scenes)
        if not frames:
            return None
        figure = Figure(figsize=(4.0 * min(3, len(frames)), 4.0 * -(-len(frames) // 3)), layout="constrained")
        last = len(self._states) - 1
        for number, frame in enumerate(frames):
            axes = figure.add_subplot(-(-len(frames) // 3), min(3, len(frames)), number + 1)
            axes.imshow(frame)
            axes.set_axis_off()
            axes.set_title(f"step {round(number * last / max(1, len(frames) - 1))}", fontsize=9)
        return figure
