"""Motion files of strangers: what other tools write is read, or refused by a fault of the file that is named."""

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.spatial.transform import Rotation

import datamodules
from datamodules.core import DataError
from datamodules.motion import captions
from datamodules.motion.datamodule import write_motion
from datamodules.motion.features import canonical, describe, to_clip, to_features
from datamodules.motion.prompt import MotionPrompt
from datamodules.motion.readers import bvh, read_folder
from datamodules.motion.rooting import rooted
from datamodules.motion.writers import write_bvh, write_npz

KINDS = ("rot6d", "rot6d_velocity", "axis_angle", "positions")
PLACE, TURN = "Xposition Yposition Zposition", "Zrotation Xrotation Yrotation"
# name, parent, offset (cm), whether it has position channels; a walk that turns, carried by the hips
BODY = [
    ("Hips", None, (0.85, 93.98, -452.2), True),  # where the actor stood once
    ("LeftUpLeg", "Hips", (9, -4, 0), False),
    ("LeftLeg", "LeftUpLeg", (0, -45, 0), False),
    ("LeftFoot", "LeftLeg", (0, -41, 0), False),
    ("RightUpLeg", "Hips", (-9, -4, 0), False),
    ("RightLeg", "RightUpLeg", (0, -45, 0), False),
    ("RightFoot", "RightLeg", (0, -41, 0), False),
    ("Spine", "Hips", (0, 12, 0), False),
    ("Head", "Spine", (0, 45, 0), False),
]
ROOT = ("joint_Root", None, (0, 0, 0), True)
TRAVEL = 2.0  # m, along +z


def under(*above, body=BODY):
    """The body below further joints, one below the other."""
    (name, _, *rest), *others = body
    chain = [(joint[0], above[k - 1][0] if k else None, *joint[2:]) for k, joint in enumerate(above)]
    return [*chain, (name, above[-1][0] if above else None, *rest), *others]


def written(path, joints, unit=1.0, frames=30, places=None):
    """Write a walk with these joints; positions (T, J, 3) m of an independent reader."""
    names = [name for name, *_ in joints]
    time = np.linspace(0, 1, frames)
    turns = {name: np.zeros((frames, 3)) for name in names}
    turns["Hips"][:, 2] = 40 * time
    turns["LeftUpLeg"][:, 1], turns["RightUpLeg"][:, 1] = 20 * np.sin(6 * time), -20 * np.sin(6 * time)
    moves = {name: np.tile(np.asarray(offset, float), (frames, 1)) for name, _, offset, _ in joints}
    moves["Hips"] = np.stack((0 * time, 94 + np.sin(9 * time), 100 * TRAVEL * time), axis=1)
    for name in ("joint_Root", "Reference"):
        if name in moves:
            moves[name] = np.zeros((frames, 3))
    moves |= places or {}
    columns, true, world = [], np.zeros((frames, len(names), 3)), {}

    def lines(joint, pad):
        name, parent, offset, free = joints[joint]
        below = [k for k, other in enumerate(joints) if other[1] == name]
        turn = Rotation.from_euler("ZXY", turns[name], degrees=True)
        before = (np.zeros((frames, 3)), Rotation.identity(frames)) if parent is None else world[parent]
        true[:, joint] = before[0] + before[1].apply(moves[name] / 100)
        world[name] = true[:, joint], before[1] * turn
        columns.extend([*([moves[name] / unit] if free else []), turns[name]])
        channels = f"CHANNELS 6 {PLACE} {TURN}" if free else f"CHANNELS 3 {TURN}"
        place = " ".join(f"{value / unit:.8f}" for value in offset)
        inner = [line for k in below for line in lines(k, pad + "\t")]
        ends = [] if below else [pad + "\tEnd Site", pad + "\t{", pad + "\t\tOFFSET 0 0 0", pad + "\t}"]
        title = f"{'JOINT' if parent else 'ROOT'} {name}"
        return [pad + title, pad + "{", f"{pad}\tOFFSET {place}", f"{pad}\t{channels}", *inner, *ends, pad + "}"]

    head = lines(0, "")
    rows = [" ".join(f"{value:.8f}" for value in row) for row in np.concatenate(columns, axis=1)]
    path.write_text("\n".join(["HIERARCHY", *head, "MOTION", f"Frames: {frames}", "Frame Time: 0.033333", *rows, ""]))
    return dict(zip(names, true.transpose(1, 0, 2), strict=True))


def off(clip, true):
    """The largest distance (m) of a joint from where the independent reader puts it."""
    places = clip.positions.double().numpy().transpose(1, 0, 2)
    return max(np.abs(place - true[name]).max() for name, place in zip(clip.skeleton.names, places, strict=True))


# ---------------------------------------------------------------------- BVH
REFERENCE = ("Reference", None, (0, 0, 0), False)
CAMERA = ("Camera", "joint_Root", (30, 200, 500), True)
WAYS = {
    "the root travels": BODY,
    "hips below a root": under(ROOT),
    "hips below a root without position channels": under(REFERENCE),
    "hips below two": under(REFERENCE, ROOT),
    "hips beside a camera": [*under(ROOT), CAMERA],
    "all joints have position channels": under(ROOT, body=[(*joint[:3], True) for joint in BODY]),
    "offsets are 0": [(*joint[:2], (0, 0, 0), True) for joint in BODY],
}
PLACES = {name: np.tile(np.asarray(offset, float), (30, 1)) for name, _, offset, _ in BODY if name != "Hips"}


@pytest.mark.parametrize("unit", [1.0, 100.0])
@pytest.mark.parametrize("way", WAYS)
def test_the_joint_that_travels_is_the_root(tmp_path, way, unit):
    true = written(tmp_path / "a.bvh", WAYS[way], unit, places=PLACES)
    (clip,) = bvh.read(tmp_path / "a.bvh")
    assert (clip.skeleton.names[0], clip.skeleton.up) == ("Hips", "y")
    assert off(clip, true) < 1e-6
    assert float(clip.root_pos[-1, 2] - clip.root_pos[0, 2]) == pytest.approx(TRAVEL, abs=1e-5)
    (given,) = bvh.read(tmp_path / "a.bvh", scale=unit / 100)
    assert given.skeleton == clip.skeleton, "what the message says to do does what it says"
    for kind in KINDS:
        about = describe(kind, len(clip.skeleton.names), clip.fps)
        again = to_clip(to_features(canonical(clip), about), about, clip.skeleton)
        assert float((again.root_pos[-1] - again.root_pos[0]).norm()) == pytest.approx(TRAVEL, abs=1e-3), kind


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_read_by_the_defaults(tmp_path, way, scale):
    written(tmp_path / "a.bvh", WAYS[way], places=PLACES)
    (clip,) = bvh.read(tmp_path / "a.bvh")
    write_bvh(clip, tmp_path / "b.bvh", scale=scale)
    (again,) = bvh.read(tmp_path / "b.bvh")
    assert (again.skeleton.names, again.skeleton.up) == (clip.skeleton.names, clip.skeleton.up)
    assert float((again.positions - clip.positions).abs().max()) < 1e-5


def test_a_spine_that_stretches_is_no_root(tmp_path):
    body = [(*joint[:3], joint[0] in ("Hips", "Spine")) for joint in BODY]
    body += [
        (f"{name}{side}", parent + side * (parent != "Spine"), (8 if side == "L" else -8, 0, 0), False)
        for side in "LR"
        for name, parent in (("Arm", "Spine"), ("Hand", "Arm"), ("Thumb", "Hand"), ("Tip", "Thumb"))
    ]
    moves = np.stack([np.zeros(30), 12 + 3 * np.sin(np.arange(30)), np.zeros(30)], axis=1)
    true = written(tmp_path / "a.bvh", body, places={"Spine": moves})
    (clip,) = bvh.read(tmp_path / "a.bvh")
    assert clip.skeleton.names[0] == "Hips"
    assert off(clip, true) < 1e-6
    assert clip.stretch == pytest.approx(0.03, abs=0.005)


def test_our_own_files_get_the_root_that_travels_too(tmp_path):
    """A clip of a root that stands still, as a program may write it into our npz."""
    written(tmp_path / "a.bvh", BODY)
    (clip,) = bvh.read(tmp_path / "a.bvh")
    parents = (-1, *(parent + 1 for parent in clip.skeleton.parents))
    still = torch.tensor([0.0, 0, 0, 1]).expand(30, 1, 4)
    body = type(clip.skeleton)(
        ("World", *clip.skeleton.names), parents, ((0, 0, 0), *clip.skeleton.offsets), "y", clip.skeleton.feet
    )
    held = type(clip)(
        "a", 30, body, torch.zeros(30, 3), torch.cat((still, clip.rotations), dim=1),
        torch.cat((torch.zeros(30, 1, 3), clip.positions), dim=1),
    )  # fmt: skip
    back = rooted(held)
    assert back.skeleton == clip.skeleton
    torch.testing.assert_close(back.positions, clip.positions)
    assert rooted(clip) is clip
    write_npz(held, tmp_path / "b.npz")
    (tmp_path / "a.bvh").unlink()
    data = datamodules.MotionClips(root=str(tmp_path), kind="rot6d", fps=None, val=0, test=0)
    assert float(data.split("train").rows[0].motion[:, -1].diff().sum()) == pytest.approx(TRAVEL, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("Frame Time: ", "Frame Time:"),
        lambda text: text.replace("Frame Time: ", "Frame Time :\t").replace("Frames: ", "FRAMES:"),
    ],
    ids=["BOM", "CRLF", "no blank", "blanks"],
)
def test_text_as_other_tools_write_it(tmp_path, change):
    true = written(tmp_path / "a.bvh", BODY)
    text = (tmp_path / "a.bvh").read_text()
    (tmp_path / "a.bvh").write_bytes(change(text).encode())
    (clip,) = read_folder(tmp_path)
    assert off(clip, true) < 1e-6
    assert clip.fps == 30


def test_a_wav_beside_a_bvh_is_heard(tmp_path):
    for folder, home in (("beat", "."), ("genea/bvh", "../wav"), ("trinity/Motion", "../Audio")):
        place = tmp_path / folder
        (place / home).mkdir(parents=True)
        written(place / "a.bvh", BODY)
        wavfile.write(place / home / "a.wav", 8000, np.full(8000, 16384, dtype=np.int16))
        (clip,) = bvh.read(place / "a.bvh")
        assert clip.audio is not None
        assert clip.audio.rate == 8000, folder
        with pytest.raises(DataError, match="8000 Hz, 16000 Hz is needed"):
            bvh.read(place / "a.bvh", audio_rate=16000)
        with pytest.raises(DataError, match=r"1.00 s of audio .* data\.source_fps"):
            bvh.read(place / "a.bvh", fps=10)


# ---------------------------------------------------------------------- SMPL
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("joints", [22, 24, 52, 55])
def test_smpl_of_any_number_of_joints(tmp_path, joints, parts):
    poses = np.zeros((20, joints * 3))
    poses[:, 0] = np.pi / 2  # z up
    poses[:, 3 * 21] = 0.5
    arrays = {"root_orient": poses[:, :3], "pose_body": poses[:, 3:66], "pose_hand": poses[:, 66:]}
    arrays = {key: value for key, value in arrays.items() if value.size} if parts else {"poses": poses}
    np.savez(tmp_path / "a.npz", trans=np.zeros((20, 3)), mocap_frame_rate=30.0, **arrays)
    (clip,) = read_folder(tmp_path, **({"up": "z"} if joints == 55 else {}))
    assert (len(clip.skeleton.names), clip.skeleton.up) == (joints, "z")
    assert clip.skeleton.names[21] == "right_wrist"
    angle = clip.rotations[0, 21]
    torch.testing.assert_close(angle, torch.tensor([np.sin(0.25), 0, 0, np.cos(0.25)], dtype=torch.float32))
    assert float(clip.positions[0, 15, 2]) > 0.5, "the head is above"


def test_smpl_that_stands_along_y_has_y_up(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros((20, 72)), trans=np.zeros((20, 3)), mocap_frame_rate=30.0)
    assert read_folder(tmp_path)[0].skeleton.up == "y"


def test_amass_as_downloaded(tmp_path):
    for subject in ("01", "02"):
        (tmp_path / "CMU" / subject).mkdir(parents=True)
        for number in (1, 2):
            np.savez(tmp_path / "CMU" / subject / f"{subject}_0{number}_poses.npz",
                     poses=np.zeros((20, 156)), trans=np.zeros((20, 3)), mocap_framerate=30.0)  # fmt: skip
        np.savez(tmp_path / "CMU" / subject / "shape.npz", betas=np.zeros(16), gender="male")
        np.savez(tmp_path / "CMU" / subject / "male_stagei.npz", betas=np.zeros(16))
        (tmp_path / "CMU" / subject / "._01_01_poses.npz").write_bytes(b"Mac")
    clips = read_folder(tmp_path)
    assert [clip.name for clip in clips] == [f"CMU/{s}/{s}_0{n}_poses" for s in ("01", "02") for n in (1, 2)]
    assert {clip.captions for clip in clips} == {()}


# ---------------------------------------------------------------------- captions, splits, broken members
@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("01_01_poses", ""),
        ("01_01_stageii", ""),
        ("walk_1_poses", "walk"),
        ("sub/jump_high_stageii", "jump high"),
        ("poses", ""),
        ("kick_level2_poses", "kick"),
        ("dataset-1_walk_active_001", "walk active"),
        ("tree_pose", "tree pose"),
        ("walk_03.bvh", "walk"),
    ],
)
def test_captions_have_no_endings_of_files(name, caption):
    assert captions.from_name(name) == caption


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("walks#walk/VERB#0.0#0.0", "walks"),
        ("draws a # sign#draw/VERB a/DET #/SYM sign/NOUN#0.0#0.0", "draws a # sign"),
        ("is #1#is/AUX #/SYM 1/NUM#0.0#0.0", "is #1"),
    ],
)
def test_a_caption_may_hold_the_sign_that_parts_a_line(tmp_path, line, caption):
    (tmp_path / "a.txt").write_text("\ufeff" + line + "\n", encoding="utf-8")
    assert [one.caption for one in captions.tagged(tmp_path / "a.txt")] == [caption]


def test_all_clips_can_be_trained_on(tmp_path):
    for name in "ab":
        written(tmp_path / f"{name}.bvh", BODY)
    with pytest.raises(DataError, match=r"2 motions cannot .* data\.val or data\.test to 0"):
        datamodules.MotionClips(root=str(tmp_path)).split("train")
    data = datamodules.MotionClips(root=str(tmp_path), val=0, test=0)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [2, 2, 2]
    assert data.split("val").rows == data.split("train").rows


def broken_bvh(folder):
    for number in range(4):
        written(folder / f"walk{number}.bvh", BODY)
    (folder / "walk1.bvh").write_text((folder / "walk1.bvh").read_text()[:-900])


def broken_npz(folder):
    for number in range(4):
        np.savez(folder / f"{number}.npz", poses=np.zeros((30, 72)), trans=np.zeros((30, 3)), mocap_frame_rate=30.0)
    (folder / "1.npz").write_bytes(b"PK\x03\x04 cut off")


def broken_humanml3d(folder):
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir()
    for number in range(4):
        vectors = np.full((30, 263), np.nan if number == 1 else 0.0)
        np.save(folder / "new_joint_vecs" / f"{number}.npy", vectors)
        (folder / "texts" / f"{number}.txt").write_text("walks#walk/VERB#0.0#0.0\n")


def lost_humanml3d(folder):
    broken_humanml3d(folder)
    (folder / "new_joint_vecs" / "1.npy").unlink()


@pytest.mark.parametrize("make", [broken_bvh, broken_npz, broken_humanml3d, lost_humanml3d])
def test_broken_members_of_a_set_are_left_out_and_counted(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match=r"1 of 4 files are broken[\s\S]*data\.max_bad"):
        read_folder(tmp_path, max_bad=0.2)
    with pytest.warns(UserWarning, match="1 of 4 files are broken and were left out"):
        assert len(read_folder(tmp_path, max_bad=0.25)) == 3
    data = datamodules.MotionClips(root=str(tmp_path), max_bad=0.3, val=0, test=0, kind="positions", fps=None)
    with pytest.warns(UserWarning, match="1 of 4 files"):
        assert len(data.split("train")) == 3


def test_a_made_motion_becomes_files_without_a_datamodule(tmp_path, monkeypatch):
    """What a loaded model knows, ``hparams``, is enough."""
    written(tmp_path / "a.bvh", BODY)
    (clip,) = bvh.read(tmp_path / "a.bvh")
    about = describe("rot6d", len(clip.skeleton.names), clip.fps)
    monkeypatch.setattr("datamodules.motion.datamodule.save_film", lambda path, clips: path.touch())  # slow
    files = write_motion(to_features(clip, about), clip.skeleton.plain, about, tmp_path / "made", "walks")
    assert [path.name for path in files] == ["made.bvh", "made.npz", "made.gif"]
    for path in files[:2]:
        (again,) = read_folder(path)
        order = [again.skeleton.names.index(name) for name in clip.skeleton.names]
        assert float((again.positions[:, order] - clip.positions).abs().max()) < 1e-5
    assert again.captions == ("walks",)


def test_words_that_no_caption_says_are_named(tmp_path):
    for name in ("walk_01", "run_01", "jump_01"):
        written(tmp_path / f"{name}.bvh", BODY)
    data = datamodules.MotionClips(root=str(tmp_path), val=0, test=0)
    MotionPrompt(data, text="Walk, run.")
    with pytest.warns(UserWarning, match="No training caption says moonwalk, backwards:"):
        MotionPrompt(data, text="Moonwalk backwards, jump")


def test_remedies_name_the_option_of_the_datamodule(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros((30, 72)), trans=np.zeros((30, 3)))
    with pytest.raises(DataError, match=r"data\.source_fps=\.\.\."):
        datamodules.MotionClips(root=str(tmp_path), val=0, test=0).split("train")
    assert len(datamodules.MotionClips(root=str(tmp_path), source_fps=30, val=0, test=0).split("train")) == 1
    written(tmp_path / "a.bvh", BODY, unit=1 / 3)
    with pytest.raises(DataError, match=r"data\.format=\.\.\."):
        datamodules.MotionClips(root=str(tmp_path), val=0, test=0).split("train")
    with pytest.raises(DataError, match=r"data\.options: \{scale: "):
        datamodules.MotionClips(root=str(tmp_path), format="bvh", val=0, test=0).split("train")
    options = {"format": "bvh", "options": {"scale": 0.01 / 3}, "source_fps": 60, "fps": None}
    data = datamodules.MotionClips(root=str(tmp_path), val=0, test=0, **options)
    assert data.features["fps"] == 60, "a wrong frame time is overridden on request"
