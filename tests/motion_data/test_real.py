"""Laws that real clips must keep; skipped without the folder that LITMOTIF_DATA names."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from datamodules.motion.clip import common_skeleton
from datamodules.motion.readers import bvh, native, read_folder
from datamodules.motion.writers import write_bvh, write_npz

from .bodies import by_scipy, relative

DATA = Path(os.environ.get("LITMOTIF_DATA", "nowhere")) / "motion"
SETS = {  # clips, frames
    "reactidle": (4, 7560),
    "cmu_asfamc": (9, 7216),
    "amp_humanoid_cmu": (6, 1751),
    "asap_g1": (52, 7545),
    "deepmimic_humanoid3d": (20, 2008),
    "makehuman_cc0": (3, 46),
}
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="LITMOTIF_DATA holds no motion")


@pytest.fixture(scope="module")
def sets():
    return {name: read_folder(DATA / name) for name in SETS}


def some(clip):
    return sorted({0, len(clip) // 2, len(clip) - 1})


@pytest.mark.parametrize("name", SETS)
def test_all_is_read_as_one_set_with_captions(sets, name):
    clips = sets[name]
    assert (len(clips), sum(map(len, clips))) == SETS[name]
    assert all(clip.captions for clip in clips)
    common_skeleton(clips)


@pytest.mark.parametrize("name", SETS)
def test_positions_are_those_of_rotation_matrices(sets, name):
    for clip in sets[name]:
        parents, offsets = clip.skeleton.parents, clip.skeleton.offsets
        rigid = clip.skeleton.forward(clip.root_pos.double(), clip.rotations.double())
        for frame in some(clip):
            local = [Rotation.from_quat(q) for q in clip.rotations[frame].double().numpy()]
            true = by_scipy(parents, offsets, clip.root_pos[frame].numpy(), local)
            assert relative(rigid[frame], true) < 1e-5
            if name != "reactidle":
                assert relative(clip.positions[frame], true) < 1e-5
        assert clip.stretch < (0.02 if name == "reactidle" else 1e-5)


@pytest.mark.parametrize("name", ["reactidle", "makehuman_cc0"])
def test_bvh_is_what_other_code_makes_of_the_text(sets, name):
    for clip in sets[name]:
        head, body = Path(clip.source).read_text().split("MOTION")
        rows = np.array([line.split() for line in body.split("\n")[3:] if line.strip()], dtype=float)
        joints, stack = [], []
        for token in re.findall(r"(?:ROOT|JOINT|End) +\S+|OFFSET.*|CHANNELS.*|\}", head):
            words = token.split()
            if words[0] in ("ROOT", "JOINT", "End"):
                joints.append([stack[-1] if stack else -1, None, []])
                stack.append(len(joints) - 1)
            elif words[0] == "OFFSET":
                joints[stack[-1]][1] = np.array(words[1:], dtype=float)
            elif words[0] == "CHANNELS":
                joints[stack[-1]][2] = words[2:]
            else:
                stack.pop()
        for frame in some(clip):
            values, local, moved = iter(rows[frame]), [], []
            for _, offset, channels in joints:
                place, turn = offset.copy(), Rotation.identity()
                for channel in channels:
                    value = next(values)
                    if channel.endswith("position"):
                        place["XYZ".index(channel[0])] = value
                    else:
                        turn = turn * Rotation.from_euler(channel[0].lower(), value, degrees=True)
                local.append(turn)
                moved.append(place)
            true = by_scipy([joint[0] for joint in joints], None, moved[0], local, moved)
            true = torch.from_numpy(true - true[0]) * (0.1 if name == "makehuman_cc0" else 1)
            found = clip.positions[frame] - clip.positions[frame, 0]
            shown = [row for row in range(len(joints)) if joints[row][2] or joints[row][1].any()]
            assert relative(found, true[shown]) < 1e-5


@pytest.mark.parametrize("name", SETS)
def test_round_trips(sets, name, tmp_path):
    for clip in (min(sets[name], key=len), max(sets[name], key=len)):
        clip = clip.cut(0, min(len(clip), 300), captions=["x"])
        write_bvh(clip, tmp_path / "a.bvh", scale=100)
        (read,) = bvh.read(tmp_path / "a.bvh", scale=0.01, root_offset="replace")
        rows = [read.skeleton.names.index(joint) for joint in clip.skeleton.names]
        assert relative(read.positions[:, rows], clip.positions) < 1e-5
        write_npz(clip, tmp_path / "a.npz")
        assert torch.equal(native.read(tmp_path / "a.npz")[0].positions, clip.positions)


@pytest.mark.parametrize("name", SETS)
def test_people_stand_on_the_ground_head_up(sets, name):
    for clip in sets[name]:
        if clip.name == "dance1" or clip.captions == ("walk on uneven terrain",):  # off the ground
            continue
        heights = clip.positions[..., clip.skeleton.vertical]
        assert -0.1 < float(heights.amin(1).median()) < 0.2
        assert 0.4 < float(heights.amax()) < 2.5


def test_the_backflip_of_amp_is_that_of_deepmimic_with_z_up(sets):
    (deep,) = (clip for clip in sets["deepmimic_humanoid3d"] if clip.name.endswith("backflip"))
    (amp,) = (clip for clip in sets["amp_humanoid_cmu"] if clip.name.endswith("backflip"))
    parts = {"thigh": "hip", "shin": "knee", "foot": "ankle", "upper_arm": "shoulder", "lower_arm": "elbow"}
    rows = []
    for joint in amp.skeleton.names:
        side, _, part = joint.partition("_")
        called = {"pelvis": "root", "torso": "chest", "head": "neck"}.get(joint, f"{side}_{parts.get(part, 'wrist')}")
        rows.append(deep.skeleton.names.index(called))
    assert (deep.fps, len(deep)) == (amp.fps, len(amp))
    turned = deep.positions[:, rows][..., [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0])
    apart = (turned - turned[:, :1]) - (amp.positions - amp.positions[:, :1])
    assert float(apart.abs().max()) < 1e-4


def test_asap_joint_order_is_that_of_its_axis_angles(sets):
    for clip in sets["asap_g1"]:
        with np.load(clip.source) as file:
            given = file["pose_aa"][:, 1:24]  # a body a joint, about its axis
            np.testing.assert_allclose(given.sum(axis=2), file["dof"], atol=1e-5)
            root = Rotation.from_rotvec(file["pose_aa"][:, 0]) * Rotation.from_quat(clip.rotations[:, 0].numpy()).inv()
        assert root.magnitude().max() < 1e-3
