"""Small bodies, motions and files for the tests, and kinematics by another library."""

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation

from datamodules.motion.clip import Clip
from datamodules.motion.skeleton import Skeleton

torch.set_num_threads(1)


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tree(seed=0, joints=9):
    """A random tree with an end of a bone, metres of a person."""
    parents = (-1, 0, 1, 1, 0, 4, 4, 6, 7)[:joints]
    offsets = 0.3 * torch.nn.functional.normalize(seeded(joints, 3, seed=seed), dim=1)
    offsets[0] = 0
    names = [f"bone{joint}" for joint in range(joints - 1)] + [f"bone{parents[-1]}_end"]
    return Skeleton(tuple(names), parents, offsets, "y", ("bone3", "bone5"))


def motion(frames=7, seed=0, skeleton=None, name="clip", **rest):
    skeleton = skeleton or tree()
    rotations = roma.quat_normalize(seeded(frames, len(skeleton.names), 4, seed=seed))
    for joint in skeleton.leaves:
        rotations[:, joint] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    return Clip.posed(name, 30.0, skeleton, seeded(frames, 3, seed=seed + 1), rotations, **rest)


def by_scipy(parents, offsets, root, local, moved=None):
    """Positions (J, 3) of one frame, joint by joint, with rotation matrices; ``local`` are scipy's rotations."""
    places, turns = [np.asarray(root, dtype=float)], [local[0].as_matrix()]
    for joint in range(1, len(parents)):
        step = offsets[joint] if moved is None else moved[joint]
        places.append(places[parents[joint]] + turns[parents[joint]] @ np.asarray(step, dtype=float))
        turns.append(turns[parents[joint]] @ local[joint].as_matrix())
    return np.stack(places)


def rotations_of(clip, frame):
    return [Rotation.from_quat(q) for q in clip.rotations[frame].double().numpy()]


def relative(found, true):
    """The largest distance between positions (..., 3), in sizes of the motion."""
    found, true = torch.as_tensor(found).double(), torch.as_tensor(true).double()
    size = (true - true.reshape(-1, 3).mean(0)).norm(dim=-1).max()
    return float((found - true).norm(dim=-1).max() / size)


# ---------------------------------------------------------------------- files
BVH = """HIERARCHY
ROOT Hips
{
\tOFFSET 0 90 0
\tCHANNELS 6 Zposition Xposition Yposition Yrotation Xrotation Zrotation
\tJOINT Leg
\t{
\t\tOFFSET 10 -45 1
\t\tCHANNELS 3 Xrotation Zrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 -45 2
\t\t}
\t}
\tJOINT Spine one
\t{
\t\tOFFSET 0 50 -3
\t\tCHANNELS 4 Zrotation Yrotation Xrotation Yposition
\t\tEnd Site { OFFSET 0 30 0 }
\t}
}
MOTION
Frames: 3
Frame Time: 0.0083333
1 2 93 10 20 30 -40 50 60 70 -80 15 50.5
2 3 94 11 21 31 -41 51 61 71 -81 16 51.5
3 4 95 12 22 32 -42 52 62 72 -82 17 52.5
"""
ASF = """# a comment
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name leg
     direction 0.6 -0.8 0
     length 8
     axis 10 20 30 XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     id 2
     name foot
     direction 0 0 2
     length 3
     axis -90 0 20 XYZ
    dof ry
    limits (0 1)
  end
  begin
     id 3
     name hip
     direction 1 0 0
     length 2
     axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root hip leg
    leg foot
  end
"""
AMC = """#!OML:ASF
:FULLY-SPECIFIED
:DEGREES
1
root 1 16 3 10 -20 30
leg 15 -25
foot 40
2
root 1.5 16.5 3.5 11 -21 31
leg 16 -26
foot 41
"""
