"""Folders of data sets: formats side by side, origins, captions, robots, splits and pieces of long recordings."""

import logging

import numpy as np
import pytest
import torch
from scipy.io import wavfile

import datamodules
from datamodules.core import DataError
from datamodules.motion import captions
from datamodules.motion.clip import Origin
from datamodules.motion.readers import native, read_folder
from datamodules.motion.skeleton import layout
from datamodules.motion.writers import write_bvh, write_npz
from datamodules.robots.kinematics import g1

from .bodies import motion, relative, seeded
from .test_captions_and_folders import features_of, walker
from .test_npz_formats import poses, save


def robot_csv(path, frames=60, jump=None):
    """Smooth angles in a csv; returns what is in it. A joint jumps by 2 rad before row ``jump``."""
    time = torch.linspace(0, 1, frames, dtype=torch.float64)[:, None]
    angles = 0.3 * torch.sin(3 * time + seeded(29))
    if jump:
        angles[jump:, 3] += 2
    turn = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).expand(frames, 4)
    root = torch.cat((time, 0 * time, 0.8 + 0 * time), dim=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, torch.cat((root, turn, angles), dim=1).numpy(), delimiter=",")
    return root, angles


@pytest.fixture
def sets(tmp_path):
    """Three data sets of three bodies and formats."""
    for name, body in (("people", "smplx"), ("apes", "deepmimic")):
        (tmp_path / name).mkdir()
        for number in range(3):
            clip = motion(60, seed=number, skeleton=layout(body), name=f"{name} {number}")
            write = write_bvh if name == "people" else write_npz
            write(clip, tmp_path / name / f"kick{number}_level{number + 1}.{'bvh' if name == 'people' else 'npz'}")
    (tmp_path / "people" / "README.md").write_text("# People\n- Source: the house\n- License: MIT, see LICENSE\n")
    (tmp_path / "apes" / "LICENSE.txt").write_text("\nFree for all\nmore\n")
    robot_csv(tmp_path / "robots" / "csv" / "Dad.csv")
    robot_csv(tmp_path / "robots" / "csv" / "Sway.csv")
    (tmp_path / "robots" / "manifest.json").write_text('{"clips": {"Dad": {"fps": 30}, "Sway": {"fps": 30}}}')
    (tmp_path / "robots" / "labels.tsv").write_text(
        "clip\tcategory\ttitle\nDad\tdance\tDad Dance\nSway\tdance\tSwaying\n"
    )
    np.savez(tmp_path / "robots" / "odd.npz", x=1)
    return tmp_path


# ---------------------------------------------------------------------- reading
def test_a_folder_of_sets_is_read_each_by_its_own_format(sets, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        clips = {clip.name: clip for clip in read_folder(sets, "mixed")}
    assert list(clips) == [
        *(f"apes/kick{k}_level{k + 1}" for k in range(3)),
        *(f"people/kick{k}_level{k + 1}" for k in range(3)),
        *("robots/csv/Dad", "robots/csv/Sway"),
    ]
    assert clips["people/kick0_level1"].origin == Origin("people", "the house", "MIT, see LICENSE")
    assert clips["apes/kick0_level1"].origin == Origin("apes", "", "Free for all")
    assert clips["people/kick1_level2"].captions == ("kick", "kick level 2")
    assert clips["robots/csv/Dad"].captions == ("Dad Dance",)
    assert clips["robots/csv/Sway"].captions == ("dance: Swaying",)
    assert "odd.npz" in caplog.text
    (sets / "reactidle").mkdir()
    write_npz(motion(30), sets / "reactidle" / "acted.npz")
    assert read_folder(sets / "reactidle")[0].captions == ("stand idle, acted",)


def test_a_folder_of_sets_takes_no_rate_and_needs_a_motion(sets, tmp_path_factory):
    with pytest.raises(DataError, match="fps, scale: not with format=mixed"):
        read_folder(sets, "mixed", fps=30, scale=1.0)
    with pytest.raises(DataError, match=r"no motion in any folder of it \(0\)"):
        read_folder(tmp_path_factory.mktemp("empty"), "mixed")
    (sets / "robots" / "labels.tsv").write_text("clip\ttitle\nMum\tMum Dance\n")
    with pytest.raises(DataError, match=r"labels\.tsv: Mum: captions without a motion"):
        read_folder(sets, "mixed")


def test_a_robot_is_where_its_kinematics_put_it_and_cut_where_it_jumps(tmp_path):
    root, angles = robot_csv(tmp_path / "a.csv")
    (clip,) = read_folder(tmp_path, fps=30)
    upright = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).expand(60, 4)
    assert relative(clip.positions, g1().forward(root, upright, angles)[0]) < 1e-5
    assert (clip.skeleton.up, clip.stretch < 1e-5) == ("z", True)
    robot_csv(tmp_path / "a.csv", jump=20)
    pieces = read_folder(tmp_path, fps=30)
    assert [(piece.name, len(piece), piece.motion) for piece in pieces] == [("a@0", 20, "a"), ("a@20", 40, "a")]


def test_levels_and_names_with_numbers_are_said():
    assert captions.from_name("jump_forward_level3") == "jump forward"
    assert captions.from_name("CR7_level1") == "cr7"
    assert captions.from_name("walk12") == "walk"


def test_origins_survive_a_file_of_ours(tmp_path):
    write_npz(motion(origin=("house", "somebody", "MIT")), tmp_path / "a.npz")
    assert native.read(tmp_path / "a.npz")[0].origin == Origin("house", "somebody", "MIT")
    write_npz(motion(), tmp_path / "b.npz")
    assert native.read(tmp_path / "b.npz")[0].origin == Origin()


# ---------------------------------------------------------------------- the datamodule
def make(root, **changes):
    settings = {"root": str(root), "frames": 24, "shortest": 8, "val": 0.25, "test": 0.25, "audio_bands": 0}
    return datamodules.MotionClips(**settings | changes)


def lengths(data):
    return sorted(len(row.motion) for name in ("train", "val", "test") for row in data.split(name).rows)


def test_one_body_for_all_sets_and_the_log_says_whose_they_are(sets, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        data = make(sets, format="mixed", body="common", kind="rot6d_velocity")
        data.prepare_data()
    assert data.skeleton == layout("humanml3d").plain
    assert "people: 3 clips, 0.1 minutes: the house; MIT, see LICENSE" in caplog.text
    assert "apes: 3 clips, 0.1 minutes: Free for all" in caplog.text
    assert "robots: 2 clips, 0.1 minutes: no source or licence stated" in caplog.text
    assert sum(map(len, (data.split(name) for name in ("train", "val", "test")))) == 8
    with pytest.raises(DataError, match=r"have different skeletons, names: 15 and 55.*data\.body=common"):
        make(sets, format="mixed").prepare_data()


def test_long_recordings_are_cut_into_pieces_of_one_split(sets):
    assert lengths(make(sets / "apes")) == [40] * 3  # 60 frames at 30 fps
    data = make(sets / "apes", cut=True)
    assert lengths(data) == [16] * 3 + [24] * 3
    whole, parts = make(sets / "apes").split("test").rows, data.split("test").rows
    assert [len(row.motion) for row in parts] == [24, 16]
    assert len(whole) == 1
    assert lengths(make(sets / "apes", cut=True, shortest=17)) == [24] * 3


def test_lists_of_splits_are_kept(tmp_path):
    for folder in ("new_joint_vecs", "texts"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        np.save(tmp_path / "new_joint_vecs" / f"{number}.npy", features_of(walker(40 + number, seed=number)))
        (tmp_path / "texts" / f"{number}.txt").write_text(f"walks {number}\n")
    lists = {"train": (0, 2, 4, 5), "val": (1,), "test": (3,)}
    for name, numbers in lists.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    data = make(tmp_path, kind="positions")
    for name, numbers in lists.items():
        assert [row.captions[0] for row in data.split(name).rows] == [f"walks {number}" for number in numbers]
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(DataError, match=r"lists of splits name train 4, val 0, test 1 of 5 clips"):
        make(tmp_path, kind="positions").prepare_data()
    with pytest.raises(DataError, match=r"features are made for 20 fps\. Set fps to that"):
        make(tmp_path, kind="positions", fps=10).prepare_data()
    with pytest.raises(DataError, match=r"these files hold positions only\. Set data\.kind=positions"):
        make(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("rate", "seconds", "options", "message"),
    [
        (16000, 2, None, None),
        (24000, 2, {"audio_rate": 16000}, r"0\.wav: 24000 Hz, 16000 Hz is needed"),
        (16000, 1, None, r"0\.npz: 1\.00 s of audio at 16000 Hz for 2\.00 s of motion"),
        (8000, 2, None, r"0\.npz: audio at 8000 Hz: at least 16000 Hz"),
        (16000, 2, {"scale": 2}, "scale: not an option of smpl"),
    ],
)
def test_speech_has_to_fit_its_motion(tmp_path, rate, seconds, options, message):
    for number in range(4):
        save(tmp_path / "smplxflame_30" / f"{number}.npz", poses=poses(seed=number), trans=np.zeros((60, 3)),
             mocap_frame_rate=30)  # fmt: skip
        (tmp_path / "wave16k").mkdir(exist_ok=True)
        sound = np.sin(np.arange(rate * seconds) / 5).astype(np.float32)
        wavfile.write(tmp_path / "wave16k" / f"{number}.wav", rate, sound)
    (tmp_path / "train_test_split.csv").write_text("id,type\n0,train\n")  # BEAT2 has one; it is no motion
    data = make(tmp_path, audio_bands=8, options=options)
    if message is None:
        assert data.audio_size == 9
        return
    with pytest.raises(DataError, match=message):
        data.prepare_data()
