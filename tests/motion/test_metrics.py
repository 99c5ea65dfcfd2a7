import copy
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d
from scipy.signal import argrelextrema

from lit_models.motion.metrics import (
    ERRORS,
    NAMES,
    BeatConsistency,
    MotionMetrics,
    beat_consistency,
    motion_beats,
    skating,
)

from .bodies import FPS, SKELETON, J, layout, lengths, motion, normal

torch.set_num_threads(1)

KINDS = ["positions", "axis_angle", "rot6d", "humanml3d"]
VALID = lengths(24, 17, 20)


def measured(guess, valid, truth=None, kind="positions", **options):
    metric = MotionMetrics(layout(kind), **options)
    metric.update(guess, valid, truth)
    return metric.compute()


def noisy(features, scale=0.1):
    return features + scale * normal(*features.shape, seed=7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_prediction_has_no_error_and_a_noisy_one_has(kind):
    truth = motion(kind)
    perfect, wrong = measured(truth, VALID, truth, kind), measured(noisy(truth), VALID, truth, kind)
    assert perfect.keys() == set(NAMES) == wrong.keys()
    assert all(perfect[name] == 0 for name in ERRORS)
    assert all(wrong[name] > 1e-3 for name in ERRORS)
    assert wrong["jerk"] > 1.5 * perfect["jerk"]
    if kind in ("axis_angle", "rot6d"):
        assert wrong["bone_length_deviation"] < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_padding_never_matters(kind):
    truth = motion(kind)
    whole = measured(noisy(truth), VALID, truth, kind)
    for filling in (1e6, torch.nan):
        filled = (torch.where(VALID[..., None], x, filling) for x in (noisy(truth), truth))
        guess, real = filled
        assert measured(guess, VALID, real, kind) == pytest.approx(whole, rel=1e-12)
    metric = MotionMetrics(layout(kind))
    for row, frames in enumerate(VALID.sum(dim=1).tolist()):
        cut = (x[row : row + 1, :frames] for x in (noisy(truth), VALID, truth))
        metric.update(*cut)
    assert metric.compute() == pytest.approx(whole, rel=1e-9)


def loops(guess, valid, truth):
    """The same numbers, a value at a time."""
    body, terms = layout(), {name: [] for name in NAMES}
    for x, y, exists in zip(guess, truth, valid, strict=True):
        frames = int(exists.sum())
        x, y = x[:frames], y[:frames]
        terms["mse"] += (x - y).square().flatten().tolist()
        terms["mae"] += (x - y).abs().flatten().tolist()
        places, true = x.view(frames, J, 3), y.view(frames, J, 3)
        spread = 0.0
        for j in range(J):
            track, apart = places[:, j], places[:, j] - true[:, j]
            for t in range(frames):
                if t >= 1:
                    terms["velocity_error"].append(float(((apart[t] - apart[t - 1]) * FPS).square().sum()))
                if t >= 2:
                    bent = (apart[t] - 2 * apart[t - 1] + apart[t - 2]) * FPS**2
                    terms["acceleration_error"].append(float(bent.square().sum()))
                if t >= 3:
                    jerks = [(z[t] - 3 * z[t - 1] + 3 * z[t - 2] - z[t - 3]) * FPS**3 for z in (apart, track)]
                    terms["jerk_error"].append(float(jerks[0].square().sum()))
                    terms["jerk"].append(float(jerks[1].norm()))
                if j:
                    bone = float((track[t] - places[t, SKELETON["parents"][j]]).norm())
                    rest = math.hypot(*SKELETON["offsets"][j])
                    terms["bone_length_deviation"].append(abs(bone - rest))
            spread += float((track - track.mean(dim=0)).abs().sum()) / frames
        terms["l1_diversity"].append(spread)
        terms["foot_skating"].append(skating_loop(places[:, body.feet].numpy(), body.up))
    return {name: np.mean(values) for name, values in terms.items()}


def skating_loop(feet, up, height=0.05, speed=0.5):
    """Of one clip (T, F, 3)."""
    frames, count = feet.shape[0], 0
    moved = np.linalg.norm(np.delete(np.diff(feet, axis=0), up, axis=-1), axis=-1) * FPS
    mean = uniform_filter1d(moved, 5, axis=0, mode="constant")
    for t in range(frames - 1):
        for foot in range(feet.shape[1]):
            low = feet[t, foot, up] < height and feet[t + 1, foot, up] < height
            if low and moved[t, foot] > speed and mean[t, foot] > speed:
                count += 1
                break
    return count / (frames - 1)


def test_equal_to_loops():
    truth = motion("positions")
    guess = noisy(truth, 0.05)
    guess.view(3, 24, J, 3)[..., [4, 6], 1] -= 0.1  # some feet on the ground
    found = measured(guess, VALID, truth)
    assert 0 < found["foot_skating"] < 1
    assert found == pytest.approx(loops(guess, VALID, truth), rel=1e-9)


@pytest.mark.parametrize("up", [1, 2])
def test_skating_equals_the_loop(up):
    feet = 0.03 * normal(40, 30, 2, 3).cumsum(dim=1)
    valid = torch.arange(30) < torch.arange(2, 42)[:, None].clamp(max=30)
    found = skating(feet, valid, FPS, up)
    assert len(found.unique()) > 10
    for clip, exists, share in zip(feet, valid, found, strict=True):
        assert share == pytest.approx(skating_loop(clip[exists].numpy(), up), abs=1e-12)


def test_skating_by_hand():
    feet = torch.zeros(1, 21, 1, 3)
    feet[0, 10:, 0, 0] = torch.arange(1, 12) * 0.06  # 1.2 m/s from frame 9 on
    valid = torch.ones(1, 21, dtype=torch.bool)
    assert skating(feet, valid, FPS, 1).item() == pytest.approx(11 / 20)  # 2 beyond the end stand: 3 of 5 are fast
    assert skating(feet + torch.tensor([0, 0.06, 0]), valid, FPS, 1) == 0  # in the air
    feet[0, 11:, 0, 0] = 0.06  # one step is no slide: the mean over 5 is 0.24 m/s
    assert skating(feet, valid, FPS, 1) == 0


def test_bone_length_deviation_in_metres():
    stretched = 1.5 * motion("positions")
    half = float(layout().bone_lengths.mean()) / 2
    assert measured(stretched, VALID)["bone_length_deviation"] == pytest.approx(half)
    assert measured(motion("positions"), VALID)["bone_length_deviation"] < 1e-12


def test_without_truth_or_feet_or_frames_keys_are_absent():
    assert measured(motion(), VALID).keys() == set(NAMES) - set(ERRORS)
    metric = MotionMetrics(layout(feet=[]))
    metric.update(motion(), VALID)
    assert "foot_skating" not in metric.compute()
    assert measured(motion()[:, :3], VALID[:, :3]).keys() == set(NAMES) - set(ERRORS) - {"jerk"}
    assert not measured(motion(), torch.zeros_like(VALID))
    assert measured(motion()[:, :1], VALID[:, :1], motion()[:, :1]).keys() >= {"mse", "mae"}


def test_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"valid \(3, 23\)"):
        measured(motion(), VALID[:, :23])
    with pytest.raises(ValueError, match=r"truth \(3, 23, 27\)"):
        measured(motion(), VALID, motion()[:, :23])


def beats_loop(speed, order, threshold):
    """Of one joint (S,): scipy's strict minima, which compares edges with themselves."""
    found = argrelextrema(speed, np.less, order=order)[0]
    return [s for s in found if speed[s] > threshold * speed.mean()]


def consistency_loop(beats, onsets, sigma):
    total = 0.0
    for onset in onsets:
        nearest = math.inf
        for beat in beats:
            nearest = min(nearest, abs(beat - onset))
        total += math.exp(-(nearest**2) / (2 * sigma**2))
    return total / len(onsets)


@pytest.mark.parametrize(("order", "threshold", "sigma"), [(7, 0.3, 0.3), (2, 0.0, 0.05), (1, 1.0, 0.5)])
def test_beat_consistency_equals_loops(order, threshold, sigma):
    speed = normal(6, 60, 4).abs().cumsum(dim=1).sin().abs()
    valid = lengths(60, 60, 41, 30, 9, 1, total=60)
    onsets = 3.2 * torch.rand(6, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    onsets[:, 0] = 0.0
    onsets[1, 3:] = torch.nan
    onsets[2] = torch.nan
    found = motion_beats(speed, valid, order, threshold)
    score, heard = beat_consistency(found, onsets, FPS, sigma)
    assert heard.tolist() == [True, True, False, True, True, True]
    for b in range(6):
        steps, heard_at = int(valid[b].sum()), onsets[b][onsets[b].isfinite()].tolist()
        joints = [beats_loop(speed[b, :steps, j].numpy(), order, threshold) for j in range(4)]
        assert [found[b, :, j].nonzero().flatten().tolist() for j in range(4)] == joints
        if heard_at:
            times = [[(s + 0.5) / FPS for s in joint] for joint in joints]
            by_joint = [consistency_loop(joint, heard_at, sigma) for joint in times]
            assert float(score[b]) == pytest.approx(np.mean(by_joint), abs=1e-12)
    assert found.any()


def swing(period=1.0, seconds=6.0, batch=1):
    """An arm that swings along x, so that it turns each half period: positions (B, T, F)."""
    time = torch.arange(round(seconds * FPS), dtype=torch.float64) / FPS
    places = torch.zeros(batch, len(time), J, 3, dtype=torch.float64)
    places[..., 7, 0] = 0.3 * torch.cos(2 * math.pi * time / period) + 0.05 * time
    return places.flatten(2)


def test_turning_on_the_beat_scores_and_off_the_beat_does_not():
    motion, valid = swing(period=2.0), torch.ones(1, 120, dtype=torch.bool)
    turns = torch.arange(1, 6, dtype=torch.float64)[None]
    scores = []
    for shift in (0.0, 0.25, 0.5):
        metric = BeatConsistency(layout(), ["l_arm"], sigma=0.1, threshold=0.0)
        metric.update(motion, valid, turns + shift)
        scores.append(metric.compute()["beat_consistency"])
    assert scores[0] > 0.9 > 0.2 > scores[1] > scores[2]
    metric = BeatConsistency(layout(), sigma=0.1, threshold=0.0)  # joints that never move score 0
    metric.update(motion, valid, turns)
    assert metric.compute()["beat_consistency"] == pytest.approx(scores[0] / J)
    metric = BeatConsistency(layout(), ["l_arm"], sigma=0.1, threshold=0.9)  # slow minima are rest
    metric.update(motion, valid, turns)
    assert metric.compute()["beat_consistency"] == 0


def test_silence_and_single_frames():
    metric = BeatConsistency(layout())
    metric.update(swing(), torch.ones(1, 120, dtype=torch.bool), torch.full((1, 3), torch.nan))
    assert metric.compute() == {}
    metric.update(swing()[:, :1], torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 2))
    assert metric.compute() == {"beat_consistency": 0.0}


def update_motion(metric, rows):
    metric.update(noisy(motion())[rows], VALID[rows], motion()[rows])


def update_beats(metric, rows):
    metric.update(motion()[rows].cumsum(dim=1), VALID[rows], normal(3, 4).abs()[rows])


@pytest.mark.parametrize(
    ("make", "update"),
    [
        (lambda: MotionMetrics(layout()), update_motion),
        (lambda: BeatConsistency(layout(), order=1, threshold=0.0), update_beats),
    ],
)
def test_two_merged_metrics_are_one(make, update):
    whole, first = make(), make()
    second = copy.deepcopy(first)
    update(whole, slice(None))
    update(first, slice(0, 1))
    update(second, slice(1, None))
    first.merge_state(second)
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-12)
    whole.reset()
    update(whole, slice(None))
    assert whole.compute() == pytest.approx(first.compute(), rel=1e-12)
