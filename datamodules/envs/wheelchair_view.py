"""Picture of a wheelchair: the room from above, and beside it both commands and what the step cost."""

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import drive, lidar, people, planner, rooms
from .view import Picture, View
from .wheelchair import Wheelchair

Point = tuple[float, float]

_ROOM, _PANEL, _EDGE = 600, 220, 14  # pixels
_FINE = 2  # drawn so many times larger, then scaled down
_PAPER, _FLOOR, _INK, _PALE = (244, 243, 239), (255, 255, 255), (45, 48, 56), (205, 207, 212)
_OBSTACLE, _PERSON, _CHAIR, _WAY, _GOAL = (
    (148, 153, 163),
    (214, 122, 62),
    (58, 110, 165),
    (120, 170, 120),
    (46, 139, 87),
)
_HUMAN, _EXECUTED, _BAD = (150, 90, 170), (58, 110, 165), (200, 60, 60)


class WheelchairView(View):
    """The room, the commands and the costs of the step."""

    def draw(self, env: Wheelchair) -> Picture:
        """The picture (628, 848, 3)."""
        size = (_ROOM + _PANEL + 2 * _EDGE, _ROOM + 2 * _EDGE)
        image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
        state = {name: value[..., 0].cpu() for name, value in env.state.items()}
        pen = _Pen(ImageDraw.Draw(image))
        _draw_room(pen, env, state)
        _draw_way(pen, env, state)
        _draw_chair(pen, state)
        _draw_panel(pen, env, state)
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


class _Pen:
    """Draws in metres of the room, or in pixels of the picture."""

    def __init__(self, on: ImageDraw.ImageDraw) -> None:
        self.on = on
        self.fonts = {size: ImageFont.load_default(size * _FINE) for size in (11, 13)}

    def at(self, x: float, y: float) -> Point:
        scale = _ROOM / rooms.SIZE
        return (_EDGE + x * scale) * _FINE, (_EDGE + _ROOM - y * scale) * _FINE

    def disc(self, x: float, y: float, radius: float, fill: Any, outline: Any = None) -> None:
        (left, top), (right, bottom) = self.at(x - radius, y + radius), self.at(x + radius, y - radius)
        self.on.ellipse((left, top, right, bottom), fill=fill, outline=outline, width=2 * _FINE)

    def line(self, points: list[Point], fill: Any, width: int) -> None:
        self.on.line([self.at(*point) for point in points], fill=fill, width=width * _FINE, joint="curve")

    def text(self, x: float, y: float, words: str, size: int = 11, fill: Any = _INK) -> None:
        self.on.text((x * _FINE, y * _FINE), words, fill=fill, font=self.fonts[size], anchor="lm")

    def box(self, x: float, y: float, width: float, height: float, fill: Any) -> None:
        self.on.rectangle((x * _FINE, y * _FINE, (x + width) * _FINE, (y + height) * _FINE), fill=fill)


def _draw_room(pen: _Pen, env: Wheelchair, state: dict[str, Any]) -> None:
    end = rooms.SIZE
    pen.on.rectangle((*pen.at(0, end), *pen.at(end, 0)), fill=_FLOOR)
    pen.disc(float(state["goal"][0]), float(state["goal"][1]), env.goal_tolerance, (214, 238, 222), _GOAL)
    for x, y, radius in state["discs"].T.tolist():
        if radius > 0:
            pen.disc(x, y, radius, _OBSTACLE)
    frame = ((-1, -1, end + 1, 0), (-1, end, end + 1, end + 1), (-1, -1, 0, end), (end, -1, end + 1, end))
    for left, bottom, right, top in frame:  # discs end at the walls
        pen.on.rectangle((*pen.at(left, top), *pen.at(right, bottom)), fill=_PAPER)
    pen.line([(0, 0), (end, 0), (end, end), (0, end), (0, 0)], _INK, 4)
    upright, level, offset, middle, half = state["partition"].tolist()
    if half < end:
        for low, high in ((0.0, middle - half), (middle + half, end)):
            if high > low:
                ends = [(upright * offset + level * s, level * offset + upright * s) for s in (low, high)]
                pen.line(ends, _INK, 4)
    places = people.position(state["walk"].unsqueeze(-1), state["people"].unsqueeze(-1)).squeeze(-1)
    speeds = people.velocity(state["walk"].unsqueeze(-1), state["people"].unsqueeze(-1)).squeeze(-1)
    for (x, y), (vx, vy), (ax, ay, ux, uy, length, _) in zip(
        places.T.tolist(), speeds.T.tolist(), state["walk"].T.tolist(), strict=True
    ):
        if x < rooms.ABSENT / 2:
            pen.line([(ax, ay), (ax + ux * length, ay + uy * length)], (245, 222, 204), 2)
            pen.disc(x, y, rooms.PERSON, _PERSON)
            pen.line([(x, y), (x + vx, y + vy)], _INK, 2)


def _draw_way(pen: _Pen, env: Wheelchair, state: dict[str, Any]) -> None:
    """The planned way: down the field from where the chair is."""
    place, goal = state["pose"][:2].unsqueeze(1).clone(), state["goal"].unsqueeze(1)
    room = state["room"].view(1).to(env.device)
    points = [tuple(place[:, 0].tolist())]
    for _ in range(200):
        if float((goal - place).norm()) < 0.6:
            break
        _, x, y = planner.bilinear(env.bank.field, room, place.to(env.device), rooms.SPACING).cpu()
        length = math.hypot(x, y) or 1.0
        place = place + 0.1 * place.new_tensor([[float(x) / length], [float(y) / length]])
        points.append(tuple(place[:, 0].tolist()))
    pen.line([*points, tuple(goal[:, 0].tolist())], _WAY, 3)


def _draw_chair(pen: _Pen, state: dict[str, Any]) -> None:
    x, y, heading = state["pose"].tolist()
    for angle, true, sensed in zip(lidar.ANGLES, state["ranges"].tolist(), state["sensed"].tolist(), strict=True):
        lost = sensed != true
        end = (x + true * math.cos(heading + angle), y + true * math.sin(heading + angle))
        pen.line([(x, y), end], _BAD if lost else _PALE, 1)
        if true < lidar.RANGE:
            pen.disc(*end, 0.05, _BAD if lost else _INK)
    hit = float(state["gap"]) <= 0.0
    pen.disc(x, y, rooms.FOOTPRINT, (252, 214, 214) if hit else (222, 233, 245), _BAD if hit else _CHAIR)

    def from_chair(ahead: float, left: float) -> Point:
        cosine, sine = math.cos(heading), math.sin(heading)
        return x + ahead * cosine - left * sine, y + ahead * sine + left * cosine

    half, wheel = drive.TRACK / 2, drive.WHEEL_RADIUS
    seat = [from_chair(*corner) for corner in ((0.25, 0.2), (0.25, -0.2), (-0.25, -0.2), (-0.25, 0.2))]
    pen.on.polygon([pen.at(*corner) for corner in seat], fill=_CHAIR)
    for side in (-half, half):
        pen.line([from_chair(-wheel, side), from_chair(wheel, side)], _INK, 5)
    for colour, (speed, yaw) in ((_HUMAN, state["joystick"].tolist()), (_EXECUTED, state["command"].tolist())):
        # where the chair would be after a second
        turn, run = yaw * drive.YAW_MAX, speed * (drive.SPEED_MAX if speed > 0 else drive.REVERSE_MAX)
        arc = [t / 10.0 for t in range(11)]
        bent = [
            (math.sin(turn * t) / turn, (1 - math.cos(turn * t)) / turn) if abs(turn) > 1e-3 else (t, 0.0) for t in arc
        ]
        pen.line([from_chair(run * ahead, run * left) for ahead, left in bent], colour, 3)


def _draw_panel(pen: _Pen, env: Wheelchair, state: dict[str, Any]) -> None:
    left, width = _ROOM + 2 * _EDGE + 4, _PANEL - 22
    seconds = int(state["elapsed"]) / env.metadata["render_fps"]
    pen.text(left, 24, f"{seconds:.1f} s   {float(state['speed'][0]):.2f} m/s", 13)
    pen.text(left, 44, f"way to go {float(state['way'][0]):.1f} m   gap {float(state['gap']):.2f} m")
    _draw_stick(pen, left + width / 2, 140, 72, state)
    authority = float(state["authority"])
    pen.text(left, 238, "joystick", fill=_HUMAN)
    pen.text(left + 62, 238, "executed", fill=_EXECUTED)
    pen.text(left, 262, f"authority of the robot {authority:.2f}")
    pen.box(left, 272, width, 8, _PALE)
    pen.box(left, 272, width * authority, 8, _INK)
    pen.text(left, 306, "costs of this step", 13)
    for i, (name, cost) in enumerate(zip(env.cost_names, state["costs"].tolist(), strict=True)):
        y = 330 + 38 * i
        pen.text(left, y, f"{name.replace('_', ' ')}  {cost:.2f}", fill=_BAD if cost > 0 else _INK)
        pen.box(left, y + 10, width, 8, _PALE)
        pen.box(left, y + 10, width * cost, 8, _BAD)


def _draw_stick(pen: _Pen, x: float, y: float, radius: float, state: dict[str, Any]) -> None:
    """Both commands as deflections of a joystick, forward up and left left."""
    pen.box(x - radius, y - radius, 2 * radius, 2 * radius, _FLOOR)
    pen.box(x - radius, y, 2 * radius, 1, _PALE)
    pen.box(x, y - radius, 1, 2 * radius, _PALE)
    for colour, (speed, yaw) in ((_HUMAN, state["joystick"].tolist()), (_EXECUTED, state["command"].tolist())):
        tip = (x - yaw * radius) * _FINE, (y - speed * radius) * _FINE
        pen.on.line(((x * _FINE, y * _FINE), tip), fill=colour, width=3 * _FINE)
        size = 5 * _FINE
        pen.on.ellipse((tip[0] - size, tip[1] - size, tip[0] + size, tip[1] + size), fill=colour)
