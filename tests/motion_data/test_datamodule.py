import pytest
import torch

import datamodules
from datamodules.core import DataError
from datamodules.motion.procedural import generate
from datamodules.motion.writers import write_bvh

SMALL = {"clips": 24, "frames": 40, "val": 0.25, "test": 0.25}


def make(**changes):
    return datamodules.MotionClips(**SMALL | changes)


def rows(data, split="train", variant=0):
    table = data.split(split)
    return table.__getitems__([(index, variant) for index in range(len(table))])


def test_batches_are_padded_to_their_longest_motion_and_say_what_exists():
    data = make()
    batch = rows(data, "test")
    lengths = [min(len(row.motion), 40) for row in data.split("test").rows]
    assert batch.valid.sum(dim=1).tolist() == lengths
    assert batch.motion.shape == (6, max(lengths), data.features["size"])
    assert (batch.motion[~batch.valid] == 0).all()
    assert all(batch.captions)


def test_splits_share_no_motion_and_a_seed_decides():
    data = make()
    held = [{row.motion.sum().item() for row in data.split(name).rows} for name in ("train", "val", "test")]
    assert len(set.union(*held)) == sum(map(len, held)) == 24
    assert torch.equal(rows(make()).motion, rows(data).motion)
    assert not torch.equal(rows(make(seed=1)).motion[:, :20], rows(data).motion[:, :20])


def test_training_draws_captions_and_beginnings_and_the_test_does_not():
    data = make(frames=24)
    assert any(not torch.equal(rows(data, variant=k).motion, rows(data).motion) for k in range(1, 4))
    assert len({tuple(rows(data, variant=k).captions) for k in range(5)}) > 1
    assert torch.equal(rows(data, "test", 5).motion, rows(data, "test").motion)
    assert rows(data, "test", 5).captions == rows(data, "test").captions


def test_statistics_are_those_of_all_training_frames():
    data = make()
    frames = torch.cat([row.motion for row in data.split("train").rows])
    torch.testing.assert_close(torch.tensor(data.statistics["mean"]), frames.mean(dim=0), rtol=1e-4, atol=1e-5)
    assert min(data.statistics["std"]) >= 0.02
    assert min(make(std_floor=0.5).statistics["std"]) >= 0.5


def test_every_clip_begins_at_the_origin_facing_ahead():
    data = make(kind="positions")
    start = torch.stack([row.motion[0] for row in data.split("train").rows]).unflatten(1, (22, 3))
    assert start[:, 0, [0, 2]].abs().max() < 1e-4
    hips = start[:, 1] - start[:, 2]  # from right to left
    assert (hips[:, 0] > 0).all()
    assert hips[:, 2].abs().max() < 1e-4


@pytest.mark.parametrize(("kind", "size"), [("positions", 66), ("axis_angle", 69), ("rot6d", 135)])
def test_columns_lead_back_to_the_clip(kind, size):
    data = make(kind=kind)
    assert data.features["size"] == size
    places = make(kind="positions").split("train").rows[0].motion.unflatten(1, (22, 3))
    torch.testing.assert_close(data.clip(data.split("train").rows[0].motion, "x").positions, places, rtol=0, atol=1e-4)


def test_sound_comes_with_its_onsets():
    data = make(generated="speech", clips=12)
    batch = rows(data)
    assert batch.audio.shape[:2] == batch.motion.shape[:2]
    assert data.audio_size == batch.audio.shape[2] == 33
    assert batch.onsets.isfinite().any(dim=1).all()
    assert make(generated="speech", clips=12, audio_bands=0).audio_size == 0
    assert make().audio_size == 0


def test_files_take_the_place_of_generated_clips(tmp_path):
    for number, clip in enumerate(generate(8, 0)):
        write_bvh(clip, tmp_path / f"walk{number}.bvh")
    data = make(root=str(tmp_path), fps=10.0, shortest=10)
    assert sum(len(data.split(name)) for name in ("train", "val", "test")) == 8
    assert data.features["fps"] == 10.0
    assert rows(data).captions[0].startswith("walk")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 2}, "clips=2"),
        ({"frames": 3}, "frames=3"),
        ({"shortest": 1000}, "shortest"),
        ({"val": 0.9, "test": 0.9}, "shares"),
        ({"root": "/nowhere"}, "/nowhere"),
    ],
)
def test_bad_settings_say_what_to_write(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes).split("train")
