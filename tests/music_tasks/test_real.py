"""Published figures that no model has a part in, on the real sets: they tell whether the protocol is the same."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import datamodules

DATA = Path(os.environ.get("LITMOTIF_DATA", "/nowhere")) / "music"
real = pytest.mark.skipif(not DATA.is_dir(), reason="LITMOTIF_DATA is not set, or has no folder music")


def whole(data, split):
    """All songs of a split in one batch."""
    table = data.split(split)
    return table.__getitems__([(index, 0) for index in range(len(table))])


@real
def test_hits_on_the_grid_err_as_published():
    """The quantised row of Gillick et al. (arXiv:1905.06118), table 2: 22.6 ms and 0.041 sixteenths^2."""
    data = datamodules.MusicFrames("groove", str(DATA / "gmd"))
    assert [len(data.songs_of(name)) for name in ("train", "val", "test")] == [368, 46, 77]
    batch = whole(data, "test")
    hit, offset = batch.mask[..., :9], batch.targets[..., :9] / 2
    step = 60 / 4 / (120 * batch.inputs[..., data.features.index("tempo"), None])
    assert (offset.abs() * step)[hit].mean().item() * 1000 == pytest.approx(22.53, abs=0.05)
    assert offset[hit].square().mean().item() == pytest.approx(0.0411, abs=1e-4)
    constant = torch.tensor(data.target_mean)[9:18]
    error = (batch.targets[..., 9:18] - constant).abs()[batch.mask[..., 9:18]].mean() / 2
    assert 0.19 < error < 0.245  # between a mean of each drum and step, and one mean of all


@real
def test_chorales_are_those_of_the_frame_benchmark():
    """The standard split of 229, 76 and 77 chorales, of 60 frames on average (arXiv:1206.6392)."""
    data = datamodules.MusicFrames("polyphony", str(DATA / "tcn_poly" / "JSB_Chorales.mat"))
    assert [len(data.songs_of(name)) for name in ("train", "val", "test")] == [229, 76, 77]
    frames = [int(whole(data, name).mask.any(dim=2).sum()) for name in ("train", "val", "test")]
    assert frames == [13578, 4526, 4648]
    batch = whole(data, "train")
    mean = torch.tensor(data.target_mean).clamp(1e-6, 1 - 1e-6)
    nats = torch.nn.functional.binary_cross_entropy(mean.expand_as(batch.targets), batch.targets, reduction="none")
    assert 10 < (nats * batch.mask).sum() / frames[0] < 14  # what keys cost whose frequency is all that is known
    assert batch.targets.sum(dim=2)[batch.mask[..., 0]].mean() == pytest.approx(3.85, abs=0.1)


@real
def test_chords_of_pop909_change_and_have_no_majority():
    data = datamodules.MusicFrames("harmony", str(DATA / "pop909"), songs=300)
    parts = [whole(data, name) for name in ("train", "test")]
    for batch in parts:
        known = batch.mask[..., 0]
        share = batch.targets[known].mean(dim=0)
        assert 0.04 < share.max() < 0.08
        change = (batch.targets[:, 1:] != batch.targets[:, :-1]).any(dim=2)[known[:, 1:] & known[:, :-1]]
        assert change.float().mean().item() == pytest.approx(0.34, abs=0.03)
        assert share[:25].sum() == pytest.approx(1)


@real
def test_velocities_of_pop909_are_played():
    data = datamodules.MusicFrames("dynamics", str(DATA / "pop909"), songs=100)
    batch = whole(data, "train")
    velocity = batch.targets[..., 0][batch.mask[..., 0]] * 127
    assert velocity.mean().item() == pytest.approx(85, abs=4)
    assert velocity.unique().numel() > 100
    classes = np.array(data.target_mean[2:8])
    assert classes.sum() == pytest.approx(1, abs=1e-4)
    assert classes.max() < 0.45
