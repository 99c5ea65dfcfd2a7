import math

import numpy as np
import pytest
import roma
import torch
from PIL import Image
from scipy.spatial.transform import Rotation, Slerp

from datamodules.core import DataError
from datamodules.motion.clip import Clip
from datamodules.motion.draw import save_film, strip
from datamodules.motion.features import (
    canonical,
    describe,
    facing,
    moved,
    resample,
    rotation_vectors,
    to_clip,
    to_features,
)
from datamodules.motion.procedural import ACTIONS, generate
from datamodules.motion.skeleton import Skeleton

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clips():
    return generate(len(ACTIONS), seed=2)


def yawed(clip, angle, shift):
    turn = torch.tensor([0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2)])
    return moved(clip, turn, torch.tensor(shift))


# ---------------------------------------------------------------------- columns
@pytest.mark.parametrize(("kind", "size"), [("positions", 66), ("axis_angle", 69), ("rot6d", 135)])
def test_columns_become_the_clip_again(clips, kind, size):
    features = describe(kind, 22, 20.0)
    assert features["size"] == size
    for clip in clips:
        values = to_features(clip, features)
        assert values.shape == (len(clip), size)
        assert values.dtype == torch.float32
        back = to_clip(values, features, clip.skeleton, clip.name, captions=clip.captions)
        torch.testing.assert_close(back.positions, clip.positions, atol=1e-5, rtol=0)
        torch.testing.assert_close(back.root_pos, clip.root_pos, atol=1e-5, rtol=0)
        assert back.captions == clip.captions
        if kind == "positions":
            assert back.rotations is None
        else:
            angle = roma.unitquat_geodesic_distance(back.rotations.double(), clip.rotations.double())
            assert angle.max() < 2e-3  # float32 near a half turn of the metric; positions above are the sharp test
        torch.testing.assert_close(to_features(back, features), values, atol=1e-5, rtol=0)


def test_velocities_become_the_clip_again(clips):
    features = describe("rot6d_velocity", 22, 20.0)
    assert features["size"] == 136
    for clip in map(canonical, clips):
        values = to_features(clip, features)
        back = to_clip(values, features, clip.skeleton)
        torch.testing.assert_close(back.positions, clip.positions, atol=1e-5, rtol=0)
        angle = roma.unitquat_geodesic_distance(back.rotations.double(), clip.rotations.double())
        assert angle.max() < 2e-3
        torch.testing.assert_close(to_features(back, features), values, atol=1e-4, rtol=0)


def test_velocities_know_neither_the_place_nor_what_was_before(clips):
    features = describe("rot6d_velocity", 22, 20.0)
    for clip in clips:
        values = to_features(clip, features)
        there = to_features(yawed(clip, 2.5, [3.0, 0.0, -5.0]), features)
        torch.testing.assert_close(there, values, atol=2e-4, rtol=0)  # speeds are differences times 20
        later = to_features(clip.cut(9, len(clip)), features)
        torch.testing.assert_close(later[1:], values[10:])
        torch.testing.assert_close(later[0, :-4], values[9, :-4])
        torch.testing.assert_close(later[0, -4:-1], later[1, -4:-1])
    walk = to_features(canonical(clips[0]), features)
    speed = clips[0].root_pos[:, [0, 2]].diff(dim=0).norm(dim=-1) * 20
    torch.testing.assert_close(walk[1:, -3:-1].norm(dim=-1), speed, atol=1e-3, rtol=0)
    assert walk[:, -2].mean() > 0.4  # ahead


@pytest.mark.parametrize("kind", ["axis_angle", "rot6d"])
def test_without_root_the_root_stays_at_the_origin(clips, kind):
    features = describe(kind, 22, 20.0, root=False)
    back = to_clip(to_features(clips[0], features), features, clips[0].skeleton)
    relative = clips[0].positions - clips[0].root_pos[:, None]
    torch.testing.assert_close(back.positions, relative, atol=1e-5, rtol=0)


def test_6d_is_the_first_column_and_then_the_second(clips):
    clip = clips[3]
    columns = to_features(clip, describe("rot6d", 22, 20.0))[:, :132].reshape(len(clip), 22, 2, 3)
    matrices = torch.from_numpy(Rotation.from_quat(clip.rotations.reshape(-1, 4).numpy()).as_matrix())
    torch.testing.assert_close(
        columns.double(), matrices.reshape(len(clip), 22, 3, 3)[..., :2].transpose(-1, -2), atol=1e-6, rtol=0
    )


def test_6d_that_is_off_is_brought_back_to_rotations(clips):
    features = describe("rot6d", 22, 20.0)
    noisy = to_features(clips[0], features)
    noisy += 0.1 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(0))
    back = to_clip(noisy, features, clips[0].skeleton)
    torch.testing.assert_close(back.rotations.norm(dim=-1), torch.ones(len(noisy), 22), atol=1e-5, rtol=0)


def test_rotation_vectors_do_not_jump_where_the_angle_passes_pi():
    angle = torch.linspace(0.1, 5.5, 200, dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64), dim=0)
    q = roma.rotvec_to_unitquat(angle[:, None] * axis)
    q = q * torch.where(torch.arange(200) % 3 == 0, -1.0, 1.0)[:, None]  # both signs mean the same rotation
    torch.testing.assert_close(rotation_vectors(q), angle[:, None] * axis, atol=1e-9, rtol=0)
    assert roma.unitquat_to_rotvec(q).diff(dim=0).norm(dim=-1).max() > 1.0
    still = rotation_vectors(roma.identity_quat((4,), dtype=torch.float64))
    torch.testing.assert_close(still, torch.zeros(4, 3, dtype=torch.float64))


# ---------------------------------------------------------------------- the frame
def test_canonical_clips_begin_at_the_origin_and_face_ahead(clips):
    for clip in clips:
        own = canonical(yawed(clip, 2.1, [3.0, 0.0, -5.0]))
        torch.testing.assert_close(own.root_pos[0, [0, 2]], torch.zeros(2), atol=1e-5, rtol=0)
        x, z = facing(own)
        assert abs(math.atan2(x, z)) < 1e-5
        torch.testing.assert_close(own.root_pos[:, 1], clip.root_pos[:, 1], atol=1e-5, rtol=0)
        assert own.stretch < 1e-5


@pytest.mark.parametrize("kind", ["positions", "axis_angle", "rot6d"])
def test_features_do_not_depend_on_where_the_world_is(clips, kind):
    features = describe(kind, 22, 20.0)
    for clip in clips[:6]:
        one = to_features(canonical(clip), features)
        two = to_features(canonical(yawed(clip, -1.3, [7.0, 0.0, 2.0])), features)
        torch.testing.assert_close(one, two, atol=2e-5, rtol=0)
        assert (to_features(clip, features) - one).abs().max() > 1e-3


def test_a_world_with_z_up_is_laid_down(clips):
    clip = clips[0]
    half = math.sqrt(0.5)
    stood = moved(clip, torch.tensor([half, 0.0, 0.0, half]), torch.zeros(3))  # y to z
    plain = {**clip.skeleton.plain, "up": "z"}
    raised = Clip("up", 20.0, Skeleton.of(plain), stood.root_pos, stood.rotations, stood.positions)
    assert raised.positions[0, :, 2].max() > 1.4
    back = canonical(raised)
    assert back.skeleton.up == "y"
    torch.testing.assert_close(back.positions, canonical(clip).positions, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("left", "right"),
    [("LeftUpLeg", "RightUpLeg"), ("LHip", "RHip"), ("lfemur", "rfemur"), ("upperleg01.L", "upperleg01.R")],
)
def test_hips_are_known_by_many_names(clips, left, right):
    clip = yawed(clips[0], 0.8, [0.0, 0.0, 0.0])
    names = [{"left_hip": left, "right_hip": right}.get(name, f"part{i}") for i, name in enumerate(clip.skeleton.names)]
    renamed = Skeleton(names, clip.skeleton.parents, clip.skeleton.offsets)
    assert facing(Clip("other", 20.0, renamed, clip.root_pos, None, clip.positions)) == facing(clip)


# ---------------------------------------------------------------------- the rate
def test_resampling_meets_the_frames_that_both_rates_have(clips):
    for clip in clips:
        twice = resample(clip, 40.0)
        assert len(twice) == 2 * len(clip) - 1
        torch.testing.assert_close(twice.positions[::2], clip.positions, atol=1e-5, rtol=0)
        torch.testing.assert_close(resample(twice, 20.0).positions, clip.positions, atol=1e-5, rtol=0)
        assert twice.stretch < 1e-5
        assert twice.contacts[::2].equal(clip.contacts)


def test_rotations_between_frames_equal_those_of_scipy(clips):
    clip, fps = clips[1], 33.0
    out = resample(clip, fps)
    moments = np.arange(len(out)) / fps
    for joint in (0, 1, 16):
        slerp = Slerp(np.arange(len(clip)) / clip.fps, Rotation.from_quat(clip.rotations[:, joint].double().numpy()))
        difference = slerp(moments).inv() * Rotation.from_quat(out.rotations[:, joint].double().numpy())
        assert difference.magnitude().max() < 1e-5


def test_one_frame_and_positions_alone_are_resampled_too(clips):
    clip = clips[0]
    assert len(resample(clip.cut(0, 1), 33.0)) == 1
    bare = Clip("bare", 20.0, clip.skeleton, clip.root_pos, None, clip.positions)
    middle = (clip.positions[:-1] + clip.positions[1:]) / 2
    torch.testing.assert_close(resample(bare, 40.0).positions[1::2], middle, atol=1e-6, rtol=0)


# ---------------------------------------------------------------------- what cannot be done is said
def test_errors_name_what_is_wrong(clips):
    clip = clips[0]
    bare = Clip("bare", 20.0, clip.skeleton, clip.root_pos, None, clip.positions)
    with pytest.raises(DataError, match="bare: it holds positions only"):
        to_features(bare, describe("rot6d", 22, 20.0))
    with pytest.raises(DataError, match=r"20 fps where features\.fps=30"):
        to_features(clip, describe("rot6d", 22, 30.0))
    with pytest.raises(DataError, match=r"22 joints where features\.joints=23"):
        to_features(clip, describe("rot6d", 23, 20.0))
    with pytest.raises(DataError, match=r"quaternions.*rot6d"):
        describe("quaternions", 22, 20.0)
    with pytest.raises(DataError, match=r"\(5, 7\) for 22 joints"):
        to_clip(torch.zeros(5, 7), describe("rot6d", 22, 20.0), clip.skeleton)
    with pytest.raises(DataError, match="fps=0"):
        resample(clip, 0.0)
    with pytest.raises(DataError, match="fps: resample"):
        save_film("never.gif", [clip, resample(clip, 30.0)])
    with pytest.raises(DataError, match="0 clips"):
        strip([])


# ---------------------------------------------------------------------- pictures
def test_strips_and_films_show_the_clips(clips, tmp_path):
    two = [canonical(clip) for clip in clips[:2]]
    figure = strip(two, scenes=3)
    assert len(figure.axes) == 6
    assert two[1].captions[0] in figure.axes[3].get_title(loc="left").replace("\n", " ")
    figure.savefig(tmp_path / "strip.png", dpi=40)
    colours = {tuple(pixel) for pixel in np.asarray(Image.open(tmp_path / "strip.png").convert("RGB")).reshape(-1, 3)}
    assert {(0xC8, 0x5A, 0x28), (0x1E, 0x6E, 0xC8)} <= colours  # left and right
    short = [clip.cut(0, 6 + 2 * i) for i, clip in enumerate(two)]
    save_film(tmp_path / "film.gif", short)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 8
        assert film.info["duration"] == 50
