"""Rendering: a picture of row 0 of a simulator, given back or shown in a window."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litmotif.errors import MissingExtraError

Picture = NDArray[np.uint8]
"""(H, W, 3)."""


class View(ABC):
    """Draws row 0 of an environment.

    Args:
        mode: ``rgb_array`` gives pictures; ``human`` shows a window, which needs pygame.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._window: Any = None

    @abstractmethod
    def draw(self, env: Any) -> Picture:
        """The picture."""

    def show(self, env: Any) -> Picture | None:
        """The picture; None where a window shows it.

        Raises:
            MissingExtraError: a window without pygame.
        """
        picture = self.draw(env)
        if self.mode == "rgb_array":
            return picture
        try:
            import pygame
        except ImportError as error:
            raise MissingExtraError("render_mode: human needs pygame; pip install pygame, or use rgb_array.") from error
        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            pygame.display.set_caption(type(env).__name__)
            self._clock = pygame.time.Clock()
        pygame.event.pump()
        self._window.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(env.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Let go of the window."""
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None
