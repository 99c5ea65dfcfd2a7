"""Motion primitives of procedural motion: smooth curves through keys, stepping along a path, gestures of an arm."""

from collections.abc import Callable, Sequence

import numpy as np

from .humanoid import FOOT, REACH, SOLE, STANDING, Array, Pose

_GRID = 100.0  # Hz, of the path that feet are planned on
_HIP, _HALF = 0.09, np.array([1.0, -1.0])  # left, right


def ease(share: Array) -> Array:
    """From 0 to 1 with no velocity and no acceleration at either end (Flash & Hogan 1985, minimum jerk)."""
    x = np.clip(share, 0.0, 1.0)
    result: Array = x**3 * (10 - 15 * x + 6 * x**2)
    return result


def through(t: Array, times: Sequence[float] | Array, values: Sequence[float] | Array) -> Array:
    """A curve that rests at each key.

    Args:
        t: (T,) s.
        times: of the K keys, increasing.
        values: (K,) or (K, D).

    Returns:
        (T,) or (T, D), constant outside the keys.
    """
    times, values = np.asarray(times), np.asarray(values, dtype=np.float64)
    shares = ease((t[:, None] - times[:-1]) / np.diff(times))  # (T, K - 1)
    result: Array = values[0] + shares @ np.diff(values, axis=0)
    return result


def walk(
    t: Array,
    forward: float,
    side: float = 0.0,
    heading: Callable[[Array], Array] = np.zeros_like,
    stride: float = 1.0,
    phase: float = 0.0,
    lift: float = 0.09,
    swing: float = 0.35,
    duty: float = 0.58,
) -> Pose:
    """Step along a path: forward, backward, to a side, round a bend, or in place.

    Args:
        t: (T,) s.
        forward: velocity along the heading, m/s.
        side: velocity to the left, m/s.
        heading: yaw in rad as a function of s, defined before and after the clip too.
        stride: strides (two steps) a second.
        phase: where in its stride the left foot is at t = 0; it lands at 0.
        lift: height of the swinging foot, m.
        swing: of the arms, rad.
        duty: share of the stride for which a foot stands.

    Returns:
        Feet that stand do not move; the pelvis is as high as the legs reach.
    """
    pose, path = Pose.standing(len(t)), _path(t, forward, side, heading)
    under = 0.45 * duty  # the phase at which an ankle is below the hip
    left = stride * t + phase
    pace = float(np.hypot(forward, side))
    roll_off = 0.75 * np.clip(forward, 0.0, 1.5) / 1.5 + 0.12  # rad, of the heel before the foot leaves
    for foot, ahead in enumerate((left, left + 0.5)):
        cycle = np.floor(ahead)
        share = ahead - cycle
        holds, yaws = [], []
        for step in (cycle, cycle + 1):
            moment = (step + under - phase - 0.5 * foot) / stride
            yaw = heading(moment)
            aside, front = _axes(yaw)
            holds.append(path(moment) + _HALF[foot] * (_HIP + 0.01 * (pace < 0.1)) * aside + FOOT * front)
            yaws.append(yaw + 0.08 * _HALF[foot])
        fly = np.clip((share - duty) / (1 - duty), 0.0, 1.0)
        moved = ease((fly - 0.03) / 0.94)  # up first, and down last: a low foot is a slow one
        pose.toes[:, foot] = holds[0] + moved[:, None] * (holds[1] - holds[0])
        pose.toes[:, foot, 1] = SOLE + lift * ease(np.minimum(fly, 1 - fly) / 0.45)
        pose.feet[:, foot, 0] = yaws[0] + moved * (yaws[1] - yaws[0])
        keys = (0.55 * duty, duty, duty + 0.6 * (1 - duty), 1.0)
        pose.feet[:, foot, 1] = through(share, keys, (0.0, roll_off, -0.1, 0.0))
        pose.contacts[:, 2 * foot] = share <= 0.55 * duty
        pose.contacts[:, 2 * foot + 1] = share <= duty
    wave = 2 * np.pi * (left - under)  # 0 where the left leg stands below its hip
    aside, front = _axes(heading(t))
    pose.root = path(t) + 0.025 * np.cos(wave)[:, None] * aside
    stepping = 2 * np.pi * left
    pose.pelvis[:, 0] = heading(t) - 0.08 * min(1.0, abs(forward)) * np.sign(forward) * np.cos(stepping)
    pose.pelvis[:, 1] = 0.04 * forward / 1.5
    pose.spine[:, 1] = 0.16 * min(1.0, abs(forward)) * np.sign(forward) * np.cos(stepping)
    pose.spine[:, 0] = 0.05 * np.clip(forward, 0.0, 2.0)
    pose.head[:, 0] = -0.03 * np.clip(forward, 0.0, 2.0)
    for arm in range(2):
        beat = -_HALF[arm] * np.sign(forward + 1e-9) * np.cos(stepping - 0.3)
        pose.arms[:, arm, 0] = swing * beat + 0.05
        pose.arms[:, arm, 3] = 0.35 + 0.25 * pace + 0.5 * swing * beat
    pose.root[:, 1] = _height(pose, 0.022 * min(1.0, pace + 0.3) * np.cos(2 * wave))
    return pose


def _axes(yaw: Array) -> tuple[Array, Array]:
    """Left and forward (..., 3) of a heading (...)."""
    none = np.zeros_like(yaw)
    left = np.stack((np.cos(yaw), none, -np.sin(yaw)), axis=-1)
    return left, np.stack((np.sin(yaw), none, np.cos(yaw)), axis=-1)


def _path(t: Array, forward: float, side: float, heading: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Where the root is on the ground (..., 3) at any moment, three seconds around the clip included."""
    grid = np.arange(t[0] - 3.0, t[-1] + 3.0, 1 / _GRID)
    aside, front = _axes(heading(grid))
    velocity = forward * front + side * aside
    steps = (velocity[1:] + velocity[:-1]) / (2 * _GRID)
    points = np.concatenate((np.zeros((1, 3)), steps.cumsum(0)))
    points -= points[np.searchsorted(grid, 0.0)]
    return lambda moment: np.stack([np.interp(moment, grid, points[:, axis]) for axis in range(3)], axis=-1)


def _height(pose: Pose, bob: Array) -> Array:
    """The highest pelvis (T,) that bobs like this and from which both legs reach their feet at every moment."""
    yaw, pitch = pose.feet[..., 0], pose.feet[..., 1]  # (T, 2)
    ankle = pose.toes - _axes(yaw)[1] * (FOOT * np.cos(pitch) - 0.06 * np.sin(pitch))[..., None]
    ankle[..., 1] = pose.toes[..., 1] + FOOT * np.sin(pitch) + 0.06 * np.cos(pitch)
    hip = pose.root[:, None] + _HIP * _HALF[:, None] * _axes(pose.pelvis[:, :1])[0]
    across = ((ankle - hip)[..., [0, 2]] ** 2).sum(-1)  # (T, 2)
    allowed = ankle[..., 1] + np.sqrt(np.maximum(REACH**2 - across, 0.01)) + STANDING - REACH - SOLE - 0.06
    height: Array = np.minimum((allowed.min(1) - bob).min(), STANDING - 0.01) + bob
    return height


# ---------------------------------------------------------------------- gestures
def blend(pose: Pose, side: int, target: Array, share: Array) -> None:
    """Bring an arm to (T, 4) or (4,) angles by a share (T,) of 0 to 1."""
    pose.arms[:, side] += share[:, None] * (target - pose.arms[:, side])


def wave_hand(pose: Pose, t: Array, side: int, rate: float, size: float, height: float, start: float) -> None:
    """Lift a hand (0 left, 1 right) from ``start`` on and swing the forearm ``rate`` times a second.

    Args:
        pose: changed in place.
        t: (T,) s.
        side: 0 left, 1 right.
        rate: Hz.
        size: of the swing, rad.
        height: abduction of the upper arm, rad.
        start: s; the hand comes down again at the end of the clip where there is time.
    """
    swing = size * np.sin(2 * np.pi * rate * (t - start))
    none = np.zeros_like(t)
    target = np.stack((none, none + height, none - np.pi / 2, 1.5 + swing), axis=-1)
    end = max(float(t[-1]), start + 1.6)
    blend(pose, side, target, through(t, (start - 0.1, start + 0.5, end - 0.6, end), (0, 1, 1, 0)))
    pose.spine[:, 2] += 0.05 * (-_HALF[side]) * through(t, (start, start + 0.5), (0, 1))


def crouch(pose: Pose, depth: Array) -> None:
    """Lower the pelvis by ``depth`` (T,) m above standing feet: back, the trunk leaning forward over them."""
    deep = np.maximum(depth, 0.0)
    pose.root[:, 1] -= depth
    pose.root[:, 2] -= 0.35 * deep
    pose.pelvis[:, 1] += 0.9 * deep
    pose.spine[:, 0] += 0.9 * deep
    pose.head[:, 0] -= 1.0 * deep
