"""Feet that stand do not move, and nothing else changes."""

import pytest
import torch

import datamodules
from datamodules.core import DataError
from datamodules.motion.features import stands
from datamodules.motion.procedural import generate
from lit_models.motion.foot_lock import held, legs_of, lock_feet, sliding
from lit_models.motion.skeleton import MotionLayout

from .bodies import layout, lengths, motion
from .test_module import make

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["rot6d_velocity", "rot6d", "axis_angle"])
def data(request):
    return datamodules.MotionClips(clips=26, frames=60, val=0.3, test=0.3, kind=request.param, contacts=True)


@pytest.fixture(scope="module")
def walk(data):
    batch = data.split("train").__getitems__([(row, 0) for row in range(8)])
    return MotionLayout(data.skeleton, data.features), batch.motion, batch.valid


def disturbed(body, clean, size=0.03):
    """The legs' rotations a little off, smoothly."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator).cumsum(dim=1) * size / clean.shape[1] ** 0.5
    width = (body.contact_columns.start) // body.joints
    legs = torch.zeros(clean.shape[-1], dtype=torch.bool)
    for leg in legs_of(body):
        for joint in leg[:3]:
            legs[joint * width : (joint + 1) * width] = True
    return clean + noise * legs


def test_each_leg_ends_in_its_toe(walk):
    names = [[walk[0].names[joint] for joint in leg[:4]] for leg in legs_of(walk[0])]
    assert names == [[f"{side}_{part}" for part in ("hip", "knee", "ankle", "foot")] for side in ("left", "right")]
    assert [walk[0].feet[leg.contact] for leg in legs_of(walk[0])] == [leg.end for leg in legs_of(walk[0])]


def test_real_motion_stays_as_it_is(walk):
    body, clean, valid = walk
    locked = lock_feet(body, clean, valid)
    torch.testing.assert_close(body.positions(locked)[valid], body.positions(clean)[valid], rtol=0, atol=2e-5)


def test_a_foot_that_stands_does_not_move_and_the_rest_of_the_body_stays(walk):
    body, clean, valid = walk
    off = disturbed(body, clean)
    locked = lock_feet(body, off, valid)
    before, after = body.positions(off.double()), body.positions(locked.double())
    moved = 0.0
    for leg in legs_of(body):
        stands = (off[..., body.contact_columns][..., leg.contact] > 0.5) & valid
        both = stands[:, 1:] & stands[:, :-1]
        assert both.sum() > 50
        slid, slides = (place[:, :, leg.end].diff(dim=1).norm(dim=-1)[both] for place in (before, after))
        assert slides.quantile(0.9) < 1e-6 < 1e-4 < slid.mean()
        assert slides.max() < slid.max()  # where a leg is at the end of its reach
        moved = max(moved, float((before - after)[:, :, leg.end][valid].norm(dim=-1).max()))
    assert moved > 0.005
    legs = [joint for joint, name in enumerate(body.names) if any(p in name for p in ("knee", "ankle", "foot"))]
    rest = [joint for joint in range(body.joints) if joint not in legs]
    if body.kind == "rot6d_velocity":  # the root has followed the feet
        after, before = (x - x[:, :, :1] * torch.tensor([1.0, 0.0, 1.0]) for x in (after, before))
    torch.testing.assert_close(after[:, :, rest], before[:, :, rest], rtol=0, atol=1e-12)
    torch.testing.assert_close(body.bones(after).norm(dim=-1), body.bones(before).norm(dim=-1), rtol=1e-6, atol=1e-6)


def test_a_root_that_is_too_fast_goes_as_the_feet_allow_and_jumps_freely():
    data = datamodules.MotionClips(clips=26, frames=60, val=0.3, test=0.3, kind="rot6d_velocity", contacts=True)
    body = MotionLayout(data.skeleton, data.features)
    batch = data.split("train").__getitems__([(row, 0) for row in range(8)])
    clean, valid = batch.motion, batch.valid
    wrong = torch.tensor([0.2, -0.1])  # m/s in the world
    too_fast = body.with_faster_root(clean, wrong.expand(8, clean.shape[1] - 1, 2))
    drift = (body.positions(too_fast.double()) - body.positions(clean.double()))[:, :, 0, [0, 2]]
    time = torch.arange(clean.shape[1])[None, :, None] / body.fps
    torch.testing.assert_close(drift[valid], (time * wrong).expand_as(drift)[valid].double(), rtol=0, atol=1e-5)
    found = sliding(body, too_fast, valid, width=2.0)
    steps = (valid[:, 1:] & valid[:, :-1])[..., None].expand_as(found)
    torch.testing.assert_close(found[steps], wrong.expand_as(found)[steps].double(), rtol=0, atol=2e-3)
    locked = lock_feet(body, too_fast, valid)
    torch.testing.assert_close(body.positions(locked)[valid], body.positions(clean)[valid], rtol=0, atol=0.01)
    nothing = clean.clone()
    nothing[..., body.contact_columns] = 0.0
    assert (sliding(body, nothing, valid, width=2.0) == 0).all()


def test_the_change_fades_at_the_edges_of_a_contact():
    stands = torch.zeros(1, 30, dtype=torch.bool)
    stands[:, 10:14] = True
    place = torch.zeros(1, 30, 3).double()
    place[:, :, 0] = torch.arange(30)
    shift = held(place, stands, fade=4)[0, :, 0]
    assert torch.equal(shift[10:14], torch.tensor([1.5, 0.5, -0.5, -1.5]).double())  # to the mean place
    assert (shift[:6] == 0).all()
    assert (shift[18:] == 0).all()
    assert (shift[5:10].diff() > 0).all()
    assert (shift[13:19].diff() > 0).all()
    assert (held(place, ~stands.logical_or(~stands), 4) == 0).all()  # nothing stands


def test_between_two_contacts_a_foot_is_pulled_at_most_as_far_as_by_either():
    stands = torch.tensor([[True, True, False, False, True, True]])
    place = torch.tensor([0.0, 1, 1, 1, 1, 2]).double()[None, :, None].expand(1, 6, 3)
    shift = held(place, stands, fade=6)[0, :, 0]
    assert shift[1] == -0.5
    assert shift[4] == 0.5
    assert (shift[1:5].diff() > 0).all()


def test_a_leg_that_is_too_short_goes_as_far_as_it_reaches(walk):
    body, clean, valid = walk
    far = clean.clone()
    far[..., body.contact_columns] = 1.0  # both feet shall stay where they are on average of the whole walk
    locked = lock_feet(body, far, valid)
    assert locked[valid].isfinite().all()
    bones = body.bones(body.positions(locked.double())).norm(dim=-1)
    torch.testing.assert_close(bones[valid], body.bone_lengths.expand_as(bones)[valid], rtol=0, atol=1e-4)


def test_feet_are_locked_where_a_model_makes_motion_unless_it_is_told_not_to(data):
    made = []
    for foot_lock in (True, False):
        module = make(data, sampling={"foot_lock": foot_lock})
        module.network.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
        made.append(module.generate("someone walks", num_frames=40))
    locked = lock_feet(module.layout, made[1], torch.ones(1, 40).bool())
    assert torch.equal(made[0], locked)
    assert not torch.equal(*made)


def test_what_cannot_be_locked_is_said():
    body = layout()
    with pytest.raises(ValueError, match=r"without contacts\. Set data\.contacts=true"):
        lock_feet(body, motion(batch=1).float(), lengths(24))
    with pytest.raises(DataError, match=r"data\.contacts=false"):
        datamodules.MotionClips(clips=6, val=0.3, test=0.3, kind="positions", contacts=True).prepare_data()


def test_contacts_are_seen_where_nobody_tells_of_them():
    for clip in generate(13, 0):
        told = clip.contacts.bool()
        object.__setattr__(clip, "contacts", None)
        toes = [k for k, name in enumerate(clip.skeleton.feet) if name.endswith("foot")]
        assert (stands(clip).bool() == told)[:, toes].float().mean() > 0.85
