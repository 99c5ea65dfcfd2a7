"""AMASS, BEAT2 with speech and words, AMP, ASAP, DeepMimic and our own npz."""

import json

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.spatial.transform import Rotation

from datamodules.core import DataError
from datamodules.motion.clip import Audio
from datamodules.motion.readers import amp, asap_g1, beside, deepmimic, native, read_folder, smpl, textgrid
from datamodules.motion.writers import write_npz
from datamodules.robots.kinematics import g1

from .bodies import by_scipy, motion, relative, seeded

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.0
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2.0
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.0
            text = "AH0"
    item [2]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2.0
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "I"
        intervals [2]:
            xmin = 0.5
            xmax = 0.7
            text = ""
        intervals [3]:
            xmin = 0.7
            xmax = 1.0
            text = "said ""hi"""
        intervals [4]:
            xmin = 1.0
            xmax = 1.5
            text = ""
        intervals [5]:
            xmin = 1.5
            xmax = 2.0
            text = "2 times"
'''
SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0 2.0 <exists> 2
"IntervalTier" "phones" 0 2.0 1
0 2.0 "AH0"
"IntervalTier" "words" 0 2.0 5
0 0.5 "I"
0.5 0.7 ""
0.7 1.0 "said ""hi"""
1.0 1.5 ""
1.5 2.0 "2 times"
'''


def poses(frames=60, columns=165, seed=0):
    return 0.4 * seeded(frames, columns, seed=seed).numpy()


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def beat2(tmp_path):
    path = tmp_path / "smplxflame_30" / "2_scott_0_1_1.npz"
    save(path, poses=poses(), trans=seeded(60, 3).numpy(), expressions=seeded(60, 100).numpy(), mocap_frame_rate=30)
    for folder in ("wave16k", "textgrid", "footcontact"):
        (tmp_path / folder).mkdir()
    wavfile.write(tmp_path / "wave16k" / "2_scott_0_1_1.wav", 16000, np.full(32000, 16384, dtype=np.int16))
    (tmp_path / "textgrid" / "2_scott_0_1_1.TextGrid").write_text(LONG)
    np.save(tmp_path / "footcontact" / "2_scott_0_1_1.npy", np.tile([1.0, 2.0, 3.0, 4.0], (60, 1)))
    return path


# ---------------------------------------------------------------------- SMPL
@pytest.mark.parametrize(("columns", "joints", "up"), [(156, 52, "z"), (165, 55, "y")])
def test_smpl_poses_are_rotation_vectors(tmp_path, columns, joints, up):
    path = save(tmp_path / "a.npz", poses=poses(4, columns), trans=seeded(4, 3).numpy(), mocap_framerate=120.0)
    (clip,) = smpl.read(path)
    assert (clip.fps, len(clip.skeleton.names), clip.skeleton.up) == (120, joints, up)
    for frame in range(4):
        local = [Rotation.from_rotvec(vector) for vector in poses(4, columns)[frame].reshape(-1, 3)]
        true = by_scipy(clip.skeleton.parents, clip.skeleton.offsets, seeded(4, 3)[frame].numpy(), local)
        assert relative(clip.positions[frame], true) < 1e-5


def test_smplx_parts_are_its_poses_with_z_up(tmp_path):
    whole = poses(4)
    cuts = {"root_orient": (0, 3), "pose_body": (3, 66), "pose_jaw": (66, 69), "pose_eye": (69, 75)}
    cuts["pose_hand"] = (75, 165)
    parts = {key: whole[:, slice(*cut)] for key, cut in cuts.items()}
    path = save(tmp_path / "a.npz", trans=np.zeros((4, 3)), mocap_frame_rate=60, **parts)
    (clip,) = read_folder(path)
    (twin,) = smpl.read(save(tmp_path / "b.npz", poses=whole, trans=np.zeros((4, 3)), mocap_frame_rate=60))
    assert torch.equal(clip.rotations, twin.rotations)
    assert (clip.skeleton.up, twin.skeleton.up, smpl.read(path, up="y")[0].skeleton.up) == ("z", "y", "y")


def test_beat2_comes_with_speech_words_faces_and_contacts(beat2):
    (clip,) = read_folder(beat2.parent)
    assert clip.captions == ('I said "hi" 2 times',)
    assert (clip.audio.rate, len(clip.audio.samples), float(clip.audio.samples[7])) == (16000, 32000, 0.5)
    assert clip.expressions.shape == (60, 100)
    assert clip.skeleton.feet[1] == "left_foot"
    assert clip.contacts[0].tolist() == [1, 3, 2, 4]


def test_beat2_is_cut_at_pauses(beat2):
    first, second = read_folder(beat2.parent, pause=0.5)
    assert (first.captions, second.captions) == (('I said "hi"',), ("2 times",))
    assert (len(first), len(second), len(second.audio.samples)) == (30, 15, 8000)
    assert first.motion == second.motion == "2_scott_0_1_1"
    assert len(read_folder(beat2.parent, pause=0.1)) == 3
    (beat2.parents[1] / "textgrid" / "2_scott_0_1_1.TextGrid").unlink()
    with pytest.raises(DataError, match=r"pause=0\.5, but no words"):
        read_folder(beat2.parent, pause=0.5)


def test_speech_that_is_too_short_or_of_another_rate_is_refused(beat2):
    wave = beat2.parents[1] / "wave16k" / "2_scott_0_1_1.wav"
    smpl.read(beat2, audio_rate=16000)
    with pytest.raises(DataError, match=r"2_scott_0_1_1\.wav: 16000 Hz, 24000 Hz is needed"):
        smpl.read(beat2, audio_rate=24000)
    wavfile.write(wave, 16000, np.zeros(16000, dtype=np.float32))
    with pytest.raises(DataError, match=r"1\.00 s of audio at 16000 Hz for 2\.00 s"):
        smpl.read(beat2)
    wavfile.write(wave, 32000, np.zeros(32000, dtype=np.float32))  # a wrong rate looks like too little
    with pytest.raises(DataError, match=r"1\.00 s of audio at 32000 Hz"):
        smpl.read(beat2)
    wave.write_bytes(b"RIFF")
    with pytest.raises(DataError, match="no readable wav"):
        smpl.read(beat2)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_all_kinds_of_samples_are_one_sound(tmp_path, kind):
    sound = np.array([[0.5, 0.0], [-0.5, -0.5], [0.0, 0.0]])
    stored = {"u": sound * 128 + 128, "i": sound * 2 ** (8 * np.dtype(kind).itemsize - 1), "f": sound}
    wavfile.write(tmp_path / "a.wav", 8000, stored[np.dtype(kind).kind].astype(kind))
    assert beside.read_wave(tmp_path / "a.wav").samples.tolist() == [0.25, -0.5, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poses": poses(60, 150)}, "poses have 150 columns: 66"),
        ({"poses": np.full((60, 165), np.nan)}, r"poses row 0, column 0: nan"),
        ({"trans": np.zeros((59, 3))}, "60 poses and 59 trans"),
        ({"expressions": np.zeros((59, 3))}, "60 poses and 59 expressions"),
        ({"mocap_frame_rate": 0.0}, r"fps=0\.0"),
    ],
)
def test_broken_smpl_is_refused(tmp_path, change, message):
    good = {"poses": poses(), "trans": np.zeros((60, 3)), "mocap_frame_rate": 30}
    with pytest.raises(DataError, match=message):
        smpl.read(save(tmp_path / "a.npz", **good | change))


def test_smpl_without_a_rate_asks_for_it(tmp_path):
    path = save(tmp_path / "a.npz", poses=poses(), trans=np.zeros((60, 3)))
    assert smpl.read(path, fps=25)[0].fps == 25
    with pytest.raises(DataError, match=r"Give data\.source_fps="):
        smpl.read(path)


# ---------------------------------------------------------------------- words
def test_textgrid_long_and_short_are_one(tmp_path):
    (tmp_path / "a").write_text(LONG)
    (tmp_path / "b").write_text(SHORT, encoding="utf-16")
    assert textgrid.read(tmp_path / "a") == textgrid.read(tmp_path / "b")
    assert list(textgrid.read(tmp_path / "a")) == ["phones", "words"]
    assert [word.text for word in textgrid.words(tmp_path / "a")] == ["I", 'said "hi"', "2 times"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LONG[:-20], "ends early"),
        (LONG.replace("xmax = 0.7", "xmax = 0.2"), r"tier words, interval 2: from 0\.5 to 0\.2"),
        ("hello", "no TextGrid"),
    ],
)
def test_broken_textgrid_is_refused(tmp_path, text, message):
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(DataError, match=message):
        textgrid.read(tmp_path / "a.TextGrid")


# ---------------------------------------------------------------------- AMP, ASAP, DeepMimic
def amp_arrays(clip, world=False):
    rotations = clip.skeleton.orientations(clip.rotations) if world else clip.rotations
    return {
        "rotation_xyzw": rotations.numpy(),
        "root_translation": clip.root_pos.numpy(),
        "node_names": np.array(clip.skeleton.names),
        "parent_indices": np.array(clip.skeleton.parents),
        "local_translation": np.array(clip.skeleton.offsets) + np.array([[0, 0, 1]] + [[0, 0, 0]] * 8),
        "is_local": not world,
        "fps": 30.0,
    }


@pytest.mark.parametrize("world", [False, True])
def test_amp_rotations_are_local_or_in_the_world(tmp_path, world):
    clip = motion()
    (read,) = amp.read(save(tmp_path / "a.npz", **amp_arrays(clip, world)))
    assert relative(read.positions, clip.positions) < 1e-5
    assert read.skeleton.up == "z"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parent_indices": np.array([-1, 5, 1, 1, 0, 4, 4, 6, 7])}, r"a\.npz: skeleton\.parents\[1\]=5"),
        ({"rotation_xyzw": np.ones((7, 9, 4))}, "no unit quaternion"),
        ({"root_translation": np.ones((6, 3))}, "7 rotation_xyzw and 6 root_translation"),
        ({"node_names": np.array(["a"], dtype=object)}, "Python objects, which could run code"),
    ],
)
def test_broken_amp_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        amp.read(save(tmp_path / "a.npz", **amp_arrays(motion()) | change))


def test_asap_robot_is_where_the_robot_kinematics_put_it(tmp_path):
    angles, turn = 0.5 * seeded(5, 23), Rotation.random(5, random_state=0)
    arrays = {"root_trans_offset": seeded(5, 3).numpy(), "root_rot": turn.as_quat(), "dof": angles.numpy()}
    path = save(tmp_path / "a.npz", pose_aa=np.zeros((5, 27, 3)), fps=30, **arrays)
    (clip,) = asap_g1.read(path)
    joints = torch.zeros(5, 29, dtype=torch.float64)
    joints[:, [row for row, name in enumerate(g1().joints) if "wrist" not in name]] = angles
    quat = torch.from_numpy(turn.as_quat())
    true, _ = g1().forward(seeded(5, 3), quat, joints)
    assert relative(clip.positions, true) < 1e-5
    assert clip.stretch < 1e-5
    with pytest.raises(DataError, match="dof has shape"):
        asap_g1.read(save(path, pose_aa=np.zeros(3), fps=30, **arrays | {"dof": np.zeros((5, 29))}))


def deepmimic_frames(frames=6, step=0.05):
    values = np.zeros((frames, 44))
    values[:, 0] = step
    values[-1, 0] = 0
    values[:, [4, 8, 12, 16, 21, 25, 30, 35, 39]] = 1
    values[:, 1] = np.arange(frames) * 0.1
    values[:, 20] = np.linspace(0, -1, frames)  # right knee
    return values


def write_deepmimic(path, values):
    path.write_text(json.dumps({"Loop": "none", "Frames": np.asarray(values).tolist()}))
    return path


def test_deepmimic_knees_bend_back_about_z(tmp_path):
    (clip,) = deepmimic.read(write_deepmimic(tmp_path / "humanoid3d_kneel.txt", deepmimic_frames()))
    assert clip.fps == 20
    names = clip.skeleton.names
    knee, ankle = (clip.positions[:, names.index(f"right_{part}")] for part in ("knee", "ankle"))
    angle = np.linspace(0, -1, 6)
    shin = np.stack((0.40987 * np.sin(angle), -0.40987 * np.cos(angle), 0 * angle), axis=1)
    assert relative(ankle - knee, shin) < 1e-5


def test_deepmimic_frames_of_uneven_time_become_even(tmp_path):
    even = deepmimic_frames()
    uneven = np.delete(even, 3, axis=0)
    uneven[2, 0] = 0.1
    (read,) = deepmimic.read(write_deepmimic(tmp_path / "a.txt", uneven))
    (true,) = deepmimic.read(write_deepmimic(tmp_path / "b.txt", even))
    assert relative(read.positions, true.positions) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[2].pop(), "frame 2 has 43 values"),
        (lambda v: v[2].__setitem__(0, -1), "frame 2 lasts -1"),
        (lambda v: v[2].__setitem__(4, 0), r"frame 2, root: .*no unit quaternion"),
        (lambda v: v[2].__setitem__(1, float("nan")), r"Frames row 2, column 1: nan"),
    ],
)
def test_broken_deepmimic_is_refused(tmp_path, change, message):
    values = deepmimic_frames().tolist()
    change(values)
    (tmp_path / "a.txt").write_text(json.dumps({"Frames": values}))
    with pytest.raises(DataError, match=message):
        deepmimic.read(tmp_path / "a.txt")


# ---------------------------------------------------------------------- ours
def test_native_keeps_all(tmp_path):
    clip = motion(
        30, audio=Audio(torch.rand(8000), 8000), captions=["a", "b"], contacts=torch.ones(30, 2), split="val",
        expressions=torch.rand(30, 4), features=torch.rand(30, 263), motion="whole",
    )  # fmt: skip
    write_npz(clip, tmp_path / "clip.npz")
    (read,) = read_folder(tmp_path)
    for key in ("name", "fps", "skeleton", "captions", "motion", "split"):
        assert getattr(read, key) == getattr(clip, key)
    for key in ("root_pos", "rotations", "positions", "contacts", "expressions", "features"):
        torch.testing.assert_close(getattr(read, key), getattr(clip, key), rtol=0, atol=1e-7)
    assert torch.equal(read.audio.samples, clip.audio.samples)
    assert read.audio.rate == 8000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": "{"}, r"a\.npz: .*Expecting"),
        ({"skeleton": "{}"}, "names, parents, offsets missing"),
        ({"positions": np.zeros((7, 8, 3))}, r"positions has shape \(7, 8, 3\)"),
        ({"audio": np.zeros(3)}, "audio_rate missing"),
    ],
)
def test_broken_native_is_refused(tmp_path, change, message):
    write_npz(motion(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = {key: file[key] for key in file.files}
    with pytest.raises(DataError, match=message):
        native.read(save(tmp_path / "a.npz", **arrays | change))
