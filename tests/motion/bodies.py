"""Rigid bodies that move: a tree of nine joints, and its features in every kind."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from lit_models.motion.skeleton import MotionLayout

NAMES = ["hips", "spine", "head", "l_hip", "l_foot", "r_hip", "r_foot", "l_arm", "r_arm"]
PARENTS = [-1, 0, 1, 0, 3, 0, 5, 1, 1]
OFFSETS = [[0, 0, 0], [0, 0.4, 0.1], [0, 0.3, 0], [0.1, -0.1, 0], [0, -0.8, 0], [-0.1, -0.1, 0], [0, -0.8, 0]]
OFFSETS += [[0.5, 0, 0], [-0.5, 0, 0]]
J = len(NAMES)
SKELETON = {"names": NAMES, "parents": PARENTS, "offsets": OFFSETS, "up": "y", "feet": ["l_foot", "r_foot"]}
SIZES = {"positions": 3 * J, "axis_angle": 3 * J + 3, "rot6d": 6 * J + 3, "rot6d_velocity": 6 * J + 4}
SIZES["humanml3d"] = 12 * J - 1
FPS = 20.0


def layout(kind="positions", fps=FPS, root=True, **skeleton):
    size = SIZES[kind] - (0 if root or kind in ("positions", "humanml3d") else 3)
    return MotionLayout(SKELETON | skeleton, {"kind": kind, "joints": J, "root": root, "size": size, "fps": fps})


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(batch=3, frames=24, seed=0):
    """Smooth rotation vectors (B, T, J, 3) and root positions (B, T, 3)."""
    time = torch.linspace(0, 2, frames, dtype=torch.float64)[None, :, None]
    waves = torch.sin(time * normal(batch, 1, 3 * J, seed=seed + 1) + normal(batch, 1, 3 * J, seed=seed + 2))
    root = torch.cumsum(0.03 * normal(batch, frames, 3, seed=seed + 3), dim=1) + torch.tensor([0, 0.9, 0])
    return waves.reshape(batch, frames, J, 3), root


def by_loops(vectors, root, offsets=OFFSETS):
    """Forward kinematics a joint at a time, in scipy: (B, T, J, 3)."""
    found = np.zeros(vectors.shape)
    for b in range(vectors.shape[0]):
        for t in range(vectors.shape[1]):
            turned = []
            for j, parent in enumerate(PARENTS):
                local = Rotation.from_rotvec(vectors[b, t, j].numpy())
                if parent < 0:
                    found[b, t, j] = root[b, t].numpy()
                    turned.append(local)
                else:
                    found[b, t, j] = found[b, t, parent] + turned[parent].apply(offsets[j])
                    turned.append(turned[parent] * local)
    return torch.from_numpy(found)


def motion(kind="positions", batch=3, frames=24, seed=0):
    """Features (B, T, F) of rigid motion; ``humanml3d`` walks and turns with all joints held."""
    vectors, root = rotations(batch, frames, seed)
    if kind == "positions":
        return layout("axis_angle")(motion("axis_angle", batch, frames, seed)).positions.flatten(2)
    if kind == "axis_angle":
        return torch.cat([vectors.flatten(2), root], dim=-1)
    if kind == "rot6d":
        matrices = Rotation.from_rotvec(vectors.reshape(-1, 3).numpy()).as_matrix()
        columns = torch.from_numpy(matrices[:, :, :2]).transpose(1, 2).reshape(batch, frames, 6 * J)
        return torch.cat([columns, root], dim=-1)
    if kind == "rot6d_velocity":
        steps = 0.8 * normal(batch, frames, 3, seed=seed + 7)
        return torch.cat([motion("rot6d", batch, frames, seed)[..., :-3], steps, root[..., 1:2]], dim=-1)
    features = torch.zeros(batch, frames, SIZES[kind], dtype=torch.float64)
    features[..., :3] = 0.1 * normal(batch, frames, 3, seed=seed)
    features[..., 3] = 0.9
    features[..., 4 : 1 + 3 * J] = normal(batch, 1, 3 * J - 3, seed=seed + 5)
    return features


def lengths(*frames, total=24):
    """Frames that exist: bool (B, T)."""
    return torch.arange(total) < torch.tensor(frames)[:, None]
