"""Captions, HumanML3D's layout, and folders whose content is recognised."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from datamodules.core import DataError
from datamodules.motion import captions
from datamodules.motion.readers import humanml3d, read_folder
from datamodules.motion.skeleton import layout
from datamodules.motion.writers import write_bvh, write_npz
from litmotif.geometry.odometry import humanml3d_positions

from .bodies import AMC, ASF, BVH, motion, relative, seeded


# ---------------------------------------------------------------------- captions
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("walk1", "walk"),
        ("walk", "walk"),
        ("zombieWalk1", "zombie walk"),
        ("humanoid3d_dance_spin", "dance spin"),
        ("amp_humanoid_run", "run"),
        ("set/jump_forward_level3", "jump forward"),
        ("02_01", ""),
    ],
)
def test_names_say_what_is_done(name, words):
    assert captions.from_name(name) == words


def test_captions_come_from_tables_texts_or_names(tmp_path):
    for name in ("walk1", "b", "c_2"):
        write_npz(motion(name=name), tmp_path / f"{name}.npz")
    (tmp_path / "labels.tsv").write_text("clip\tframes\ttitle\nwalk1\t7\tstrolls\nwalk1\t7\tsaunters\n")
    (tmp_path / "b.txt").write_text("jumps\nleaps#leap/VERB#0.0#0.0\n")
    found = {how: [clip.captions for clip in read_folder(tmp_path, said=how)] for how in ("auto", "files", "names")}
    assert found == {  # b, c_2, walk1
        "auto": [("jumps", "leaps"), ("c",), ("strolls", "saunters")],
        "files": [("jumps", "leaps"), (), ("strolls", "saunters")],
        "names": [("b",), ("c",), ("walk",)],
    }
    assert [clip.captions for clip in read_folder(tmp_path, said="none")] == [()] * 3
    with pytest.raises(DataError, match="captions=guess"):
        read_folder(tmp_path, said="guess")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip\ttitle\na\twalks\nz\truns\n", r"labels\.tsv: z: captions without a motion"),
        ("clip\tframes\na\t7\n", r"columns \['clip', 'frames'\]"),
        ("clip\ttitle\na\t\n", r"labels\.tsv:2: no title for a"),
        ("clip\tfps\ttitle\na\tfast\twalks\n", r"labels\.tsv:2: fps=fast"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, message):
    write_npz(motion(), tmp_path / "a.npz")
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path)


# ---------------------------------------------------------------------- HumanML3D
def features_of(joints):
    """Root and local columns of joints (T, 22, 3) whose root faces where ``across`` its hips says, by scipy."""
    across = joints[:, 1] - joints[:, 2]
    heading = np.arctan2(-across[:, 2], across[:, 0])  # left at +x faces +z
    back = Rotation.from_euler("y", -heading[:, None])
    features = np.zeros((len(joints), 263))
    half = np.diff(-heading) / 2
    features[:-1, 0] = (half + np.pi / 2) % np.pi - np.pi / 2
    features[:-1, 1:3] = back[1:].apply(np.diff(joints[:, 0], axis=0))[:, [0, 2]]
    features[:, 3] = joints[:, 0, 1]
    local = joints[:, 1:] - joints[:, :1] * np.array([1, 0, 1])
    features[:, 4:67] = np.stack([back[t].apply(local[t]) for t in range(len(joints))]).reshape(len(joints), -1)
    features[:, 259:] = 1
    return features


def walker(frames=60, seed=0):
    """A body that turns and goes about; it begins at x = z = 0 and faces +z."""
    skeleton = layout("humanml3d")
    time = np.linspace(0, 1, frames)
    local = Rotation.from_rotvec(0.1 * seeded(frames * 22, 3, seed=seed).numpy())
    quats = local.as_quat().reshape(frames, 22, 4)
    quats[:, 0] = Rotation.from_euler("y", 4 * time[:, None]).as_quat()
    root = np.stack((np.sin(3 * time), 0.9 + 0.1 * time, 2 * time), axis=1)
    return skeleton.forward(torch.from_numpy(root), torch.from_numpy(quats)).numpy()


@pytest.fixture
def humanml(tmp_path):
    for folder in ("new_joint_vecs", "texts"):
        (tmp_path / folder).mkdir()
    for number, text in enumerate(("walks#walk/VERB#0.0#0.0\nturns#turn/VERB#0.5#1.5\n", "goes#go/VERB#nan#nan\n")):
        vectors = features_of(walker(seed=number)).astype(np.float32)
        np.save(tmp_path / "new_joint_vecs" / f"00000{number}.npy", vectors)
        (tmp_path / "texts" / f"00000{number}.txt").write_text(text)
    return tmp_path


def test_humanml3d_positions_are_those_of_the_motion():
    joints = walker()
    assert relative(humanml3d_positions(torch.from_numpy(features_of(joints))), joints) < 1e-9


def test_humanml3d_parts_of_motions_are_clips(humanml):
    clips = read_folder(humanml)
    assert [(clip.name, clip.captions, len(clip), clip.motion, clip.fps) for clip in clips] == [
        ("000000", ("walks",), 60, "000000", 20),
        ("000000/1", ("turns",), 20, "000000", 20),
        ("000001", ("goes",), 60, "000001", 20),
    ]
    whole, part = clips[:2]
    assert torch.equal(part.features, whole.features[10:30])
    assert torch.equal(part.positions, whole.positions[10:30])
    assert part.rotations is None
    assert relative(whole.positions, walker()) < 1e-5
    assert whole.contacts.shape == (60, 4)


def test_humanml3d_lists_are_splits(humanml):
    (humanml / "train.txt").write_text("000001\n")
    assert [(clip.name, clip.split) for clip in read_folder(humanml)] == [("000001", "train")]
    (humanml / "test.txt").write_text("000000\n")
    assert {clip.motion: clip.split for clip in read_folder(humanml)} == {"000000": "test", "000001": "train"}
    (humanml / "val.txt").write_text("000000\n")
    with pytest.raises(DataError, match=r"test\.txt: 000000 is in val\.txt as well"):
        read_folder(humanml)


@pytest.mark.parametrize("bias", [1, 5, 25])
def test_humanml3d_deviations_are_divided_by_the_bias_that_one_states(humanml, bias):
    np.save(humanml / "Mean.npy", np.arange(263.0))
    np.save(humanml / "Std.npy", np.full(263, 2.0))
    mean, std = humanml3d.statistics(humanml, feature_bias=bias)
    assert torch.equal(mean, torch.arange(263.0, dtype=torch.float64))
    assert std[[0, 3, 4, 258, 259, 262]].tolist() == [2 / bias, 2 / bias, 2, 2, 2 / bias, 2 / bias]
    with pytest.raises(DataError, match="feature_bias=0"):
        humanml3d.statistics(humanml, feature_bias=0)
    np.save(humanml / "Std.npy", np.zeros(263))
    with pytest.raises(DataError, match="deviations above 0"):
        humanml3d.statistics(humanml, feature_bias=bias)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "new_joint_vecs" / "000001.npy").unlink(), r"no motion \(new_joint_vecs\) for 000001"),
        (lambda root: (root / "texts" / "000001.txt").unlink(), r"no text \(texts\) for 000001"),
        (lambda root: np.save(root / "new_joint_vecs" / "000001.npy", np.zeros((9, 251))), r"000001\.npy: \(9, 251\)"),
        (
            lambda root: np.save(root / "new_joint_vecs" / "000001.npy", np.full((9, 263), np.inf)),
            r"000001\.npy: values row 0, column 0: inf",
        ),
        (lambda root: (root / "texts" / "000001.txt").write_text("a#b#c\n"), r"000001\.txt:1: 'a#b#c'"),
        (lambda root: (root / "texts" / "000001.txt").write_text("a#b#2#1\n"), r"000001\.txt:1: from 2 to 1 s"),
        (lambda root: (root / "texts" / "000001.txt").write_text("a#b#8#9\n"), r"8 to 9 s of 3 s: nothing is there"),
        (lambda root: (root / "texts" / "000001.txt").write_text("\n"), r"000001\.txt: no caption"),
    ],
)
def test_broken_humanml3d_is_refused(humanml, break_it, message):
    break_it(humanml)
    with pytest.raises(DataError, match=message):
        read_folder(humanml)


# ---------------------------------------------------------------------- folders
def test_files_are_recognised_by_what_they_hold(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "run2.bvh").write_text(BVH)
    (tmp_path / "LICENSE.txt").write_text("free")
    (clip,) = read_folder(tmp_path)
    assert (clip.name, clip.captions, clip.source) == ("a/b/run2", ("run",), str(deep / "run2.bvh"))
    (other,) = read_folder(deep / "run2.bvh", scale=0.02, up="z")
    assert (other.name, other.skeleton.up) == ("run2", "z")
    torch.testing.assert_close(torch.tensor(other.skeleton.offsets), 2 * torch.tensor(clip.skeleton.offsets))


def test_folders_of_more_than_one_format_ask_for_one(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH)
    (tmp_path / "02.asf").write_text(ASF)
    (tmp_path / "02_01.amc").write_text(AMC)
    with pytest.raises(DataError, match=r"more than one format: asf_amc \(1\), bvh \(1\)\. Choose one"):
        read_folder(tmp_path)
    assert [clip.name for clip in read_folder(tmp_path, "bvh")] == ["a"]
    assert [clip.fps for clip in read_folder(tmp_path, "asf_amc", fps=60)] == [60]
    with pytest.raises(DataError, match="no amp motion found"):
        read_folder(tmp_path, "amp")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.bvh", "hello", {}, r"no motion found.*Not recognised: .*a\.bvh"),
        ("a.npz", "hello", {}, r"a\.npz: no readable npz"),
        ("notes.txt", "hello", {}, "no motion found; known formats: native, bvh"),
        ("a.bvh", BVH, {"floor": 0.5}, "floor: not an option of bvh"),
        ("a.bvh", BVH, {"format": "fbx"}, "format=fbx: one of auto"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, content, options, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path, **options)


def test_strange_files_among_motions_are_refused(tmp_path):
    write_bvh(motion(skeleton=layout("humanml3d")), tmp_path / "a.bvh")
    np.savez(tmp_path / "b.npz", x=1)
    with pytest.raises(DataError, match=r"b\.npz: of no known format"):
        read_folder(tmp_path)
    assert len(read_folder(tmp_path, "bvh")) == 1
    with pytest.raises(DataError, match="no such file or folder"):
        read_folder(tmp_path / "nowhere")
