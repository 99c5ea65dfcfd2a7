"""Real data sets as one: laws that each must keep, and the configs on real files.

Skipped without the folder that LITMOTIF_DATA names.
"""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from datamodules.motion.common import grounded, match, to_common
from datamodules.motion.readers import read_folder
from datamodules.motion.skeleton import layout
from lit_models.cli import main

from .test_captions_and_folders import features_of, walker
from .test_npz_formats import LONG, poses, save

DATA = Path(os.environ.get("LITMOTIF_DATA", "nowhere")) / "motion"
real = pytest.mark.skipif(not DATA.is_dir(), reason="LITMOTIF_DATA holds no motion")
FEW = {  # of large sets some files
    "cmu_asfamc": ("02.asf", "02_01.amc", "02_03.amc", "03.asf", "03_01.amc", "LICENSE.txt"),
    "deepmimic_humanoid3d": tuple(f"humanoid3d_{name}.txt" for name in ("walk", "spinkick", "getup_facedown", "crawl")),
    "reactidle": ("genuine/000_genuine.bvh", "acted/010_acted.bvh"),
    "asap_g1": tuple(f"{name}_level1.npz" for name in ("kick", "squat", "walk", "side_jump")),
    "g1_moves": ("manifest.json", *(f"csv/{name}.csv" for name in ("M_ShortMove12", "B_HandsUp", "J_Dance20_DWG"))),
}
SETS = ("amp_humanoid_cmu", "asap_g1", "cmu_asfamc", "deepmimic_humanoid3d", "g1_moves", "makehuman_cc0", "reactidle")
SHORT = ("--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false")
SMALL = ("--model.network.hidden_size=32", "--model.network.num_layers=1", "--model.sampling.steps=2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All sets, of the large ones some files."""
    root = tmp_path_factory.mktemp("sets")
    for name in SETS:
        files = FEW.get(name)
        if files is None:
            (root / name).symlink_to(DATA / name)
            continue
        for file in (*files, "README.md"):
            (root / name / file).parent.mkdir(parents=True, exist_ok=True)
            (root / name / file).symlink_to(DATA / name / file)
    header, *rows = (DATA / "cmu_asfamc" / "labels.tsv").read_text().splitlines()
    rows = [row for row in rows if f"{row.split()[0]}.amc" in FEW["cmu_asfamc"]]
    (root / "cmu_asfamc" / "labels.tsv").write_text("\n".join([header, *rows, ""]))
    return root


@pytest.fixture(scope="module")
def clips(root):
    return [clip.cut(0, min(len(clip), 400)) for clip in read_folder(root, "mixed")]


@real
@pytest.mark.parametrize("name", SETS)
def test_each_set_becomes_one_person_who_stands_on_the_ground(clips, name):
    mine = [clip for clip in clips if clip.origin.name == name]
    assert mine
    assert all(clip.origin.source and clip.origin.licence and clip.captions for clip in mine)
    goal = layout("humanml3d")
    wanted = torch.tensor(goal.offsets)[1:].norm(dim=1)
    for clip in mine:
        made = grounded(to_common(clip))
        bones = (made.positions[:, 1:] - made.positions[:, list(goal.parents[1:])]).norm(dim=-1)
        torch.testing.assert_close(bones, wanted.expand_as(bones), rtol=0, atol=2e-5)
        assert len(made) == len(clip)
        low = made.positions[..., 1].amin(dim=1)
        assert -0.1 < float(low.median()) < 0.3, clip.name
        assert 0.3 < float(made.positions[:, goal.names.index("head"), 1].amax()) < 2.6, clip.name
        hips = made.positions[:, goal.names.index("left_hip")] - made.positions[:, goal.names.index("right_hip")]
        assert float(hips.norm(dim=-1).min()) > 0.17


@real
@pytest.mark.parametrize("name", SETS)
def test_ankles_go_where_the_body_s_own_go(clips, name):
    for clip in (clip for clip in clips if clip.origin.name == name):
        made, rows = to_common(clip), match(clip.skeleton)
        leg = [clip.positions[:, rows[f"left_{part}"]] for part in ("hip", "knee", "ankle")]
        own = sum((b - a).norm(dim=-1).mean() for a, b in pairwise(leg))
        axes = [0, 2, 1] if clip.skeleton.up == "z" else [0, 1, 2]
        for side in ("left", "right"):
            found = made.positions[:, layout("humanml3d").names.index(f"{side}_ankle")]
            true = 0.81 / own * clip.positions[:, rows[f"{side}_ankle"]][:, axes]
            true = true * torch.tensor([1.0, 1.0, -1.0 if clip.skeleton.up == "z" else 1.0])
            apart = (found - true) - (found - true).mean(dim=0)  # hips are wider in one than in another
            assert float(apart.norm(dim=-1).mean()) < 0.03, clip.name


@real
def test_who_is_mapped_stays_as_he_is(clips):
    for name in SETS:
        made = to_common(next(clip for clip in clips if clip.origin.name == name))
        again = to_common(replace(made, skeleton=layout("humanml3d")))
        torch.testing.assert_close(again.positions, made.positions, rtol=0, atol=1e-4)


# ---------------------------------------------------------------------- the configs on files
def fit(name, folder, *more):
    return main(["fit", "-c", f"motion/{name}", f"--data.root={folder}", *SHORT, *SMALL, *more])


@real
@pytest.mark.parametrize(("name", "of"), [("real", "."), ("cmu", "cmu_asfamc")])
def test_configs_learn_from_real_files(root, in_tmp, capsys, name, of):
    assert fit(name, root / of) == 0, capsys.readouterr().err


def test_humanml3d_s_config_learns_from_its_layout(in_tmp, capsys):
    for folder in ("new_joint_vecs", "texts"):
        (in_tmp / "set" / folder).mkdir(parents=True)
    for number in range(6):
        np.save(in_tmp / "set" / "new_joint_vecs" / f"{number}.npy", features_of(walker(seed=number)).astype("f4"))
        (in_tmp / "set" / "texts" / f"{number}.txt").write_text("a person walks#a/DET#0.0#0.0\n")
    for name, numbers in {"train": "0\n1\n2\n3\n", "val": "4\n", "test": "5\n"}.items():
        (in_tmp / "set" / f"{name}.txt").write_text(numbers)
    assert fit("humanml3d", "set") == 0, capsys.readouterr().err


def test_beat2_s_config_learns_from_its_layout(in_tmp, capsys):
    for number in range(4):
        name = f"2_scott_0_{number}_{number}"
        save(in_tmp / "set" / "smplxflame_30" / f"{name}.npz", poses=poses(seed=number), trans=np.zeros((60, 3)),
             expressions=np.zeros((60, 100)), mocap_frame_rate=30)  # fmt: skip
        for folder in ("wave16k", "textgrid"):
            (in_tmp / "set" / folder).mkdir(exist_ok=True)
        sound = np.sin(np.arange(32000) / 7).astype(np.float32)
        wavfile.write(in_tmp / "set" / "wave16k" / f"{name}.wav", 16000, sound)
        (in_tmp / "set" / "textgrid" / f"{name}.TextGrid").write_text(LONG)
    assert fit("beat2", "set", "--data.options={audio_rate: 16000}") == 0, capsys.readouterr().err
