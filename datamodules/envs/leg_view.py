"""A picture of the leg exoskeleton: the walker from the right side, and what acts on the joints."""

import math

import numpy as np
import pygame

from .exoskeleton_leg import ExoskeletonLeg
from .human import IMPAIRMENTS
from .leg_robot import PEAK_TORQUE
from .view import Picture, View

_WIDTH, _HEIGHT, _SCALE = 900, 520, 330.0  # pixels, pixels, pixels per m
_HIP, _GROUND = 270.0, 470.0  # pixels: where the hip is from the left, and the ground from the top
_PAPER, _INK, _PALE, _SKIN, _CLOTH = (250, 250, 248), (40, 44, 52), (205, 208, 214), (226, 178, 148), (150, 160, 180)
_ROBOT, _HUMAN, _CUFF, _GHOST = (30, 110, 200), (200, 90, 40), (130, 60, 160), (90, 170, 90)
_SMOOTH = 2  # drawn so much larger, then shrunk

Point = tuple[float, float]


class LegView(View):
    """Draws row 0 of an ``ExoskeletonLeg``.

    Args:
        mode: see ``View``.
    """

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        pygame.font.init()
        self.font = pygame.font.Font(None, 22 * _SMOOTH)
        self.page = pygame.Surface((_WIDTH * _SMOOTH, _HEIGHT * _SMOOTH))

    def draw(self, env: ExoskeletonLeg) -> Picture:
        """The picture (520, 900, 3)."""
        self.page.fill(_PAPER)
        self._walker(env)
        self._panel(env)
        small = pygame.transform.smoothscale(self.page, (_WIDTH, _HEIGHT))
        return np.ascontiguousarray(pygame.surfarray.array3d(small).transpose(1, 0, 2))

    # ------------------------------------------------------------------
    def _walker(self, env: ExoskeletonLeg) -> None:
        state, legs = env.state, env.legs
        angle, _, _, robot, _, motor = state["joints"][..., 0].tolist()
        target = state["reference"][0, :, 0].tolist()
        speed, walked = float(state["walk"][1, 0]), int(state["elapsed"][0]) / env.metadata["render_fps"]
        for x in range(-1, 10):  # the treadmill runs backwards
            start = 60.0 * x - (speed * walked * _SCALE) % 60.0
            self._line((start, _GROUND + 6), (start + 30, _GROUND + 6), _PALE, 5)
        self._line((0, _GROUND), (560, _GROUND), _INK, 2)
        if legs == 1:  # the other leg is well and goes its way
            phase, frequency = state["walk"][0, :1] + 0.5, state["walk"][2, :1]
            other = env.gait(phase, state["walk"][1, :1], frequency).angle[:, 0].tolist()
            angle, target = [angle[0], other[0], angle[1], other[1]], [target[0], other[0], target[1], other[1]]
        low = max(y for leg in (0, 1) for _, y in self._points(angle[leg], angle[2 + leg], 0.0)[2:])
        hip = _GROUND - low - 8.0  # the lower foot stands on the ground
        self._line((_HIP, hip), (_HIP + 8, hip - 95), _CLOTH, 52)
        self._dot((_HIP + 14, hip - 133), 26, _SKIN)
        for leg in (1, 0):  # the far leg first
            bare = self._points(angle[leg], angle[2 + leg], hip)
            self._limb(bare, _PALE if leg else _SKIN, 30)
            if leg < legs:
                joints = self._points(robot[leg], robot[legs + leg], hip)
                self._limb(joints, _CLOTH if leg else _ROBOT, 7)
                self._limb(self._points(target[leg], target[2 + leg], hip), _GHOST, 3)
                for place, row in zip(joints, (leg, legs + leg), strict=False):
                    used = abs(motor[row]) / PEAK_TORQUE
                    self._dot(place, 13, _CLOTH if leg else _ROBOT)
                    self._dot(place, 10, (255, int(255 * (1 - used)), int(255 * (1 - used))))

    @staticmethod
    def _points(hip: float, knee: float, height: float) -> tuple[Point, Point, Point, Point]:
        """Hip, knee, ankle, toe."""
        length, shank = 0.43 * _SCALE, hip - knee
        middle = (_HIP + length * math.sin(hip), height + length * math.cos(hip))
        ankle = (middle[0] + length * math.sin(shank), middle[1] + length * math.cos(shank))
        toe = (ankle[0] + 42 * math.cos(shank), ankle[1] + 14 - 42 * math.sin(shank))
        return (_HIP, height), middle, ankle, toe

    def _limb(self, points: tuple[Point, Point, Point, Point], colour: tuple[int, int, int], width: int) -> None:
        hip, knee, ankle, toe = points
        self._line(hip, knee, colour, width)
        self._line(knee, ankle, colour, width)
        self._line(ankle, toe, colour, max(3, width // 2))

    def _panel(self, env: ExoskeletonLeg) -> None:
        state = env.state
        left, top = 585.0, 24.0
        kind = IMPAIRMENTS[int(state["human_kind"][0])]
        texts = (
            f"{kind}, severity {float(state['human_severity'][0]):.2f}   level {int(env.levels[0])}",
            f"{float(state['walk'][1, 0]):.2f} m/s   step {int(state['elapsed'][0])} of {env.max_episode_steps}",
            f"authority {float(state['authority'][0]):.2f}   fatigue {float(state['human_fatigue'][0]):.2f}"
            f"   trust {float(state['human_trust'][0]):.2f}",
        )
        for text in texts:
            self._text(text, (left, top), _INK)
            top += 22
        for text, colour in (("gait", _GHOST), ("motor", _ROBOT), ("human", _HUMAN), ("cuff", _CUFF)):
            self._text(text, (left, top + 8), colour)
            left += 70
        left, top = 585.0, top + 44
        motor = (state["joints"][5, :, 0] / PEAK_TORQUE).tolist()
        cuff, command = state["seen"][..., 0].tolist()
        angle, target = state["joints"][0, :, 0].tolist(), state["reference"][0, :, 0].tolist()
        step = (_HEIGHT - top - 16) / len(motor)
        for row, name in enumerate(env.action_names[:-1]):
            degrees = math.degrees(angle[row])
            off = math.degrees(angle[row] - target[row])
            self._text(f"{name.replace('_', ' ')}: {degrees:.0f}° ({off:+.0f}° off the gait)", (left, top), _INK)
            bars = ((motor[row], _ROBOT), (command[row], _HUMAN), (cuff[row] / PEAK_TORQUE, _CUFF))
            for i, (share, colour) in enumerate(bars):
                self._bar(share, (left, top + 22 + i * 16), colour)
            top += step

    def _bar(self, share: float, place: Point, colour: tuple[int, int, int]) -> None:
        """A share in [-1, 1] of the full scale, from the middle; flexion to the right."""
        x, y, half = place[0] + 140.0, place[1] + 6.0, 135.0
        self._line((x - half, y), (x + half, y), _PALE, 10)
        self._line((x, y), (x + half * max(-1.0, min(1.0, share)), y), colour, 10)
        self._line((x, y - 7), (x, y + 7), _INK, 1)

    def _line(self, start: Point, end: Point, colour: tuple[int, int, int], width: int) -> None:
        a, b = pygame.Vector2(start) * _SMOOTH, pygame.Vector2(end) * _SMOOTH
        half = width * _SMOOTH / 2
        if width > 12 and (b - a).length() > 0:  # a limb: round ends
            pygame.draw.circle(self.page, colour, a, half)
            pygame.draw.circle(self.page, colour, b, half)
        if (b - a).length() > 0:
            side = (b - a).normalize().rotate(90) * half
            pygame.draw.polygon(self.page, colour, (a + side, b + side, b - side, a - side))

    def _dot(self, place: Point, radius: float, colour: tuple[int, int, int]) -> None:
        pygame.draw.circle(self.page, colour, pygame.Vector2(place) * _SMOOTH, radius * _SMOOTH)

    def _text(self, text: str, place: Point, colour: tuple[int, int, int]) -> None:
        self.page.blit(self.font.render(text, True, colour), pygame.Vector2(place) * _SMOOTH)
