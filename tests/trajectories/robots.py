"""Small seeded motions that the tests of trajectories share."""

import math

import roma
import torch

from datamodules.robots.kinematics import g1
from datamodules.robots.recording import Recording


def unit(*shape, seed=0):
    """Random unit quaternions (*shape, 4)."""
    return torch.nn.functional.normalize(normal(*shape, 4, seed=seed), dim=-1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def motion(steps=60, fps=50.0, seed=0, name="walk"):
    """A G1 that walks a curve, sways, and moves each joint as a sine within its limits."""
    tree, t = g1(), torch.arange(steps, dtype=torch.float64) / fps
    phase, rate = normal(len(tree.joints), seed=seed), 1 + normal(len(tree.joints), seed=seed + 1).abs()
    middle, half = tree.limits.mean(1), (tree.limits[:, 1] - tree.limits[:, 0]) / 4
    joint_pos = middle + half * (t[:, None] * rate + phase).sin()
    root_pos = torch.stack((t + seed, 0.3 * (2 * t).sin(), 0.8 + 0.05 * (5 * t).cos()), dim=-1)
    turn = roma.rotvec_to_unitquat(torch.stack((0.2 * (3 * t).sin(), 0.1 * t.cos(), t + math.pi / 2), dim=-1))
    return Recording(name, fps, root_pos=root_pos, root_quat=turn, joint_pos=joint_pos, joints=tree.joints)
