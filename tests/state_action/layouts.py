"""Layouts of a small robot, of a mobile base and of something without a root, as YAML writes them."""

from copy import deepcopy

from lit_models.state_action.layout import StateLayout

ROBOT = {
    "root": "spatial",
    "state": [
        {"name": "root_pos", "size": 3, "unit": "m", "frame": "character"},
        {"name": "root_vel", "size": 3, "unit": "m/s", "frame": "character"},
        {"name": "root_rot", "size": 3, "unit": "rad", "frame": "character"},
        {"name": "body_pos", "size": 6, "unit": "m", "frame": "local"},
        {"name": "body_vel", "size": 6, "unit": "m/s", "frame": "local"},
        {"name": "joint_pos", "size": 3, "unit": "rad", "frame": "none"},
    ],
    "action": [{"name": "joint_target", "size": 3, "unit": "rad"}],
    "fps": 30.0,
    "joints": ["hip", "knee", "ankle"],
    "joint_limits": [[-1.0, 1.0], [0.0, 2.0], [-0.5, 0.25]],
    "bodies": ["hand", "foot"],
    "action_is_joint_position": True,
}
BASE = {
    "root": "planar",
    "state": [
        {"name": "root_pos", "size": 2, "unit": "m", "frame": "character"},
        {"name": "root_vel", "size": 2, "unit": "m/s", "frame": "character"},
        {"name": "root_rot", "size": 1, "unit": "rad", "frame": "character"},
        {"name": "body_vel", "size": 2, "unit": "m/s", "frame": "local"},
        {"name": "yaw_rate", "size": 1, "unit": "rad/s", "frame": "none"},
    ],
    "action": [{"name": "velocity", "size": 2, "unit": "m/s"}, {"name": "turn", "size": 1, "unit": "rad/s"}],
    "fps": 10.0,
    "joints": [],
    "joint_limits": [],
    "bodies": [],
    "action_is_joint_position": False,
}
BARE = {
    "root": None,
    "state": [{"name": "observation", "size": 4, "unit": "", "frame": "none"}],
    "action": [{"name": "action", "size": 2, "unit": ""}],
    "fps": 20.0,
    "joints": [],
    "joint_limits": [],
    "bodies": [],
    "action_is_joint_position": False,
}


def changed(plain, **changes):
    """A deep copy with other values."""
    return deepcopy(plain) | changes


robot, base, bare = (StateLayout.from_plain(plain) for plain in (ROBOT, BASE, BARE))
