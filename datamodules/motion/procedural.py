"""Procedural motions with captions: what a text-to-motion model can learn from with no download.

Each clip is a function of (seed, index): its action, speed, side, count and style are drawn, its captions say the
first four. Actions take turns, so that any run of clips holds all of them.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from .clip import Clip
from .humanoid import Array, Pose
from .moves import blend, crouch, ease, through, walk, wave_hand
from .scene import LONGEST, Dice, Scene, clips_of, times

_COUNTS = ("once", "twice", "three times")
_SIDES = ("left", "right")


def idle(pose: Pose, t: Array, dice: Dice) -> None:
    """Breathing, and the small sway of somebody who stands, over resting feet."""
    for axis, size in ((0, 0.012), (2, 0.006)):
        pose.root[:, axis] += size * np.sin(2 * np.pi * (dice.between(0.15, 0.3) * t + dice.between(0, 1)))
    pose.root[:, 1] -= 0.004
    pose.spine[:, 0] += 0.02 * np.sin(2 * np.pi * (0.28 * t + dice.between(0, 1)))
    pose.head[:, 1] += 0.06 * np.sin(2 * np.pi * (0.15 * t + dice.between(0, 1)))


def stand(t: Array, dice: Dice) -> Pose:
    """At ease, as persons differ: width of the stance, how the arms hang."""
    pose = Pose.standing(len(t), dice.between(0.09, 0.14))
    pose.arms[..., 1] += dice.between(-0.04, 0.08)
    pose.arms[..., 3] += dice.between(-0.1, 0.2)
    idle(pose, t, dice)
    return pose


# ---------------------------------------------------------------------- actions that go somewhere
def _walking(dice: Dice, t: Array, speed: float, turn: float = 0.0) -> Pose:
    """Forward, or backward at a negative speed, by ``turn`` rad to the left over the clip."""
    start, end = 0.15 * t[-1], 0.85 * t[-1]
    return walk(
        t,
        speed,
        heading=lambda moment: turn * ease((moment - start) / (end - start)),
        stride=dice.between(1.05, 1.15) * np.sqrt(max(abs(speed), 0.3) / 1.45),
        phase=dice.between(0, 1),
        lift=dice.between(0.07, 0.1),
        swing=dice.between(0.28, 0.42) * min(1.2, 0.4 + abs(speed) / 1.6),
    )


def _walk_forward(dice: Dice) -> Scene:
    """Sometimes a hand waves, or both arms are up, meanwhile."""
    pace, words = dice.pace()
    t = times(dice.between(2.5, 5.0))
    pose = _walking(dice, t, 1.0 * pace)
    also = dice.one_of(("", "", "", "left", "right", "up"))
    extra = ""
    if also == "up":
        for side in (0, 1):
            blend(pose, side, np.array([0.1, 2.7, 0.0, 0.2]), np.ones_like(t))
        extra = " with both arms raised"
    elif also:
        wave_hand(pose, t, _SIDES.index(also), 1.6, dice.between(0.35, 0.55), dice.between(1.4, 1.7), 0.2)
        extra = f" while waving with the {also} hand"
    verbs = ("walks forward", "walks straight ahead")
    return Scene(pose, verbs, tuple(word + extra for word in words))


def _walk_backward(dice: Dice) -> Scene:
    pace, words = dice.pace()
    pose = _walking(dice, times(dice.between(2.5, 5.0)), -0.7 * pace)
    return Scene(pose, ("walks backwards", "steps backwards"), words)


def _walk_bend(dice: Dice) -> Scene:
    side = dice.one_of(_SIDES)
    angle, words = dice.one_of(((0.7, ("slightly to the {}",)), (1.6, ("to the {}",)), (3.1, ("around to the {}",))))
    t = times(dice.between(3.5, 5.0) if angle < 3 else dice.between(4.5, 6.0))
    pose = _walking(dice, t, dice.between(0.8, 1.0), (1 if side == "left" else -1) * angle * dice.between(0.9, 1.1))
    verbs = ("walks forward and turns", "walks and then turns")
    return Scene(pose, verbs, tuple(word.format(side) for word in words))


def _turn_on_spot(dice: Dice) -> Scene:
    side = dice.one_of(_SIDES)
    pace, words = dice.pace()
    angle = (1 if side == "left" else -1) * dice.between(1.6, 2.4)
    t = times(3.2 / pace)
    pose = walk(
        t,
        0.0,
        heading=lambda moment: angle * ease((moment - 0.1 * t[-1]) / (0.8 * t[-1])),
        stride=1.1 * pace**0.5,
        phase=dice.between(0, 1),
        swing=0.1,
        lift=0.07,
    )
    return Scene(pose, (f"turns {side} on the spot", f"turns to the {side} while standing in place"), words)


def _side_step(dice: Dice) -> Scene:
    side = dice.one_of(_SIDES)
    pace, words = dice.pace()
    speed = (1 if side == "left" else -1) * 0.35 * pace
    t = times(dice.between(2.5, 4.5))
    pose = walk(
        t, 0.0, speed, stride=1.2 * pace**0.5, phase=dice.between(0, 1), swing=0.06, lift=dice.between(0.06, 0.09)
    )
    return Scene(pose, (f"steps sideways to the {side}", f"side-steps to the {side}"), words)


def _march(dice: Dice) -> Scene:
    pace, words = dice.pace()
    pose = step_in_time(times(dice.between(2.5, 5.0)), 110.0 * pace, dice)
    return Scene(pose, ("steps in place", "marches on the spot"), words)


def step_in_time(t: Array, bpm: float, dice: Dice, first: float = 0.0) -> Pose:
    """March on the spot, a foot landing on each beat.

    Args:
        t: (T,) s.
        bpm: beats a minute.
        dice: draws the style and the foot that begins.
        first: moment of a beat, s.
    """
    stride = bpm / 120.0
    phase = 0.5 * dice.one_of((0, 1)) - first * stride
    return walk(t, 0.0, stride=stride, phase=phase, lift=dice.between(0.12, 0.2), swing=dice.between(0.2, 0.5))


# ---------------------------------------------------------------------- actions over standing feet
def _repeated(dice: Dice, once: float) -> tuple[Array, int, float, float]:
    """Frames of an action that takes ``once`` s and is repeated; how often; where it begins; s each."""
    count, start = dice.count(), dice.between(0.2, 0.4)
    once = min(once, (LONGEST - start - 0.3) / count)
    return times(max(2.0, start + count * once + 0.3)), count, start, once


def _cycles(t: Array, start: float, once: float, count: int, keys: Sequence[tuple[float, float]]) -> Array:
    """A curve of (share of the cycle, value) keys, ``count`` times: (T,)."""
    moments = [start + once * (cycle + share) for cycle in range(count) for share, _ in keys]
    return through(t, moments, [value for _ in range(count) for _, value in keys])


_UP_AND_DOWN = ((0.0, 0.0), (0.45, 1.0), (0.55, 1.0), (0.99, 0.0))


def _squat(dice: Dice) -> Scene:
    pace, words = dice.pace()
    t, count, start, once = _repeated(dice, 1.5 / pace)
    pose, curve = stand(t, dice), _cycles(t, start, once, count, _UP_AND_DOWN)
    crouch(pose, dice.between(0.3, 0.42) * curve)
    for side in (0, 1):
        blend(pose, side, np.array([1.5, 0.1, 0.0, 0.1]), curve)
    verbs = (f"squats {_COUNTS[count - 1]}", f"does a squat {_COUNTS[count - 1]}")
    return Scene(pose, verbs, words)


def _jump(dice: Dice) -> Scene:
    t, count, start, once = _repeated(dice, 1.3)
    flight = dice.between(0.3, 0.42)  # s
    speed, dip = 9.81 * flight / 2, dice.between(0.16, 0.22)
    keys = np.array([0.0, 0.32, 0.5, 0.5 + flight / once, 0.62 + flight / once, 0.99])
    moments = np.concatenate([start + once * (cycle + keys) for cycle in range(count)])
    height = np.tile([0.0, -dip, 0.0, 0.0, -0.8 * dip, 0.0], count)
    slope = np.tile([0.0, 0.0, speed, -speed, 0.0, 0.0], count)
    # a cubic between zeros with slopes v and -v is the parabola of a free flight
    rise = CubicHermiteSpline(moments, height, slope)(np.clip(t, moments[0], moments[-1]))
    pose, flown = stand(t, dice), np.maximum(rise, 0.0)
    crouch(pose, -np.minimum(rise, 0.0))
    pose.root[:, 1] += flown
    pose.toes[..., 1] += flown[:, None]
    pose.feet[..., 1] = 0.5 * ease(flown / 0.12)[:, None]
    pose.contacts[:] = (flown < 1e-6)[:, None]
    for side in (0, 1):
        blend(pose, side, np.array([0.9, 0.3, 0.0, 0.5]), ease(flown / 0.25))
    return Scene(pose, (f"jumps {_COUNTS[count - 1]}", f"jumps up {_COUNTS[count - 1]}"))


def _kick(dice: Dice) -> Scene:
    side = dice.one_of(_SIDES)
    pace, words = dice.pace()
    foot, sign = _SIDES.index(side), 1 if side == "left" else -1
    once, start = 1.5 / pace, dice.between(0.3, 0.5)
    t = times(max(2.0, start + once + 0.5))
    pose = stand(t, dice)
    shift = through(t, start + once * np.array([-0.2, 0.2, 0.7, 1.1]), (0, 1, 1, 0))
    pose.root[:, 0] -= 0.09 * sign * shift
    pose.root[:, 1] -= 0.02 * shift
    high = dice.between(0.35, 0.6)
    path = np.array([(0, 0, 0), (0, 0.12, -0.3), (0, high, 0.55), (0, 0.15, 0.05), (0, 0, 0)])
    keys = start + once * np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    pose.toes[:, foot] += through(t, keys, path)
    pose.feet[:, foot, 1] = through(t, keys, (0, 0.9, -0.3, 0.1, 0))
    swing = through(t, keys, (0, 0.2, -0.25, 0, 0))
    pose.spine[:, 0] += swing
    pose.arms[:, 1 - foot, 0] += through(t, keys, (0, -0.3, 0.8, 0.2, 0))
    pose.arms[..., 1] += 0.5 * shift[:, None]
    pose.contacts[:, 2 * foot : 2 * foot + 2] = (pose.toes[:, foot, 1] < 0.0201)[:, None]
    return Scene(pose, (f"kicks with the {side} foot", f"kicks with the {side} leg"), words)


def _wave(dice: Dice) -> Scene:
    pace, words = dice.pace()
    hand = dice.one_of((*_SIDES, "both"))
    t = times(dice.between(2.5, 5.0))
    pose = stand(t, dice)
    style = (dice.between(0.3, 0.55), dice.between(1.3, 1.8), dice.between(0.1, 0.4))
    for side in (0, 1) if hand == "both" else (_SIDES.index(hand),):
        wave_hand(pose, t, side, 1.7 * pace, *style)
    hands = "both hands" if hand == "both" else f"the {hand} hand"
    return Scene(pose, (f"waves with {hands}", f"waves {hands.replace('the', 'their')}"), words)


def _raise_arms(dice: Dice) -> Scene:
    ways = {
        "to the front": (1.57, 0.05),
        "to the sides": (0.0, 1.55),
        "above the head": (2.95, 0.1),
    }
    way = dice.one_of(tuple(ways))
    pace, words = dice.pace()
    t, count, start, once = _repeated(dice, 1.7 / pace)
    pose, curve = stand(t, dice), _cycles(t, start, once, count, _UP_AND_DOWN)
    flexion, abduction = ways[way]
    for side in (0, 1):
        blend(pose, side, np.array([flexion, abduction, 0.0, 0.08]) + 0.05 * dice.between(-1, 1), curve)
    count_word = _COUNTS[count - 1]
    return Scene(pose, (f"raises both arms {way} {count_word}", f"lifts both arms {way} {count_word}"), words)


def _bow(dice: Dice) -> Scene:
    deep, words = dice.one_of(((0.55, ("slightly",)), (1.35, ("deeply",))))
    t, count, start, once = _repeated(dice, dice.between(1.8, 2.2))
    pose, curve = stand(t, dice), _cycles(t, start, once, count, ((0.0, 0.0), (0.4, 1.0), (0.6, 1.0), (0.99, 0.0)))
    angle = deep * dice.between(0.9, 1.1) * curve
    pose.pelvis[:, 1] += 0.5 * angle
    pose.spine[:, 0] += 0.5 * angle
    pose.head[:, 0] += 0.2 * angle
    pose.root[:, 2] -= 0.1 * angle
    pose.root[:, 1] -= 0.035 * angle
    pose.arms[..., 0] += 0.6 * angle[:, None]
    verbs = (f"bows {{}} {_COUNTS[count - 1]}", f"bows forward {{}} {_COUNTS[count - 1]}")
    return Scene(pose, tuple(verb.format(word) for verb in verbs for word in words))


def _stand(dice: Dice) -> Scene:
    pose = stand(times(dice.between(2.0, 4.0)), dice)
    return Scene(pose, ("stands still", "stands in place", "does not move"))


ACTIONS: dict[str, Callable[[Dice], Scene]] = {
    "walk_forward": _walk_forward,
    "walk_backward": _walk_backward,
    "walk_bend": _walk_bend,
    "turn_on_spot": _turn_on_spot,
    "side_step": _side_step,
    "march": _march,
    "squat": _squat,
    "jump": _jump,
    "kick": _kick,
    "wave": _wave,
    "raise_arms": _raise_arms,
    "bow": _bow,
    "stand": _stand,
}


def generate(num: int, seed: int) -> list[Clip]:
    """Procedural clips with captions.

    Args:
        num: how many; the first of 1000 are those of 10.
        seed: each clip is a function of it and of its index.

    Returns:
        Clips of 2 to 6 s at 20 fps on ``layout("humanml3d")``, with contacts and up to four captions each.
    """
    names, scenes, dice = [], [], []
    for index in range(num):
        dice.append(Dice(seed, index))
        names.append(tuple(ACTIONS)[index % len(ACTIONS)])
        scenes.append(ACTIONS[names[-1]](dice[-1]))
    return clips_of(names, scenes, dice)
