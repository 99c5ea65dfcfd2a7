from collections import Counter

import numpy as np
import pytest
import torch

import datamodules
from datamodules.core import DataError
from datamodules.music.augment import scale_tempo
from datamodules.music.datamodule import digest
from datamodules.music.procedural import grooves, phrases
from datamodules.music.splits import balanced, split_songs, spread
from litmotif.errors import LitmotifError

from ..music.files import write_groove

SMALL = {"songs": 12, "split": [0.5, 0.25, 0.25], "batch_size": 4}


def make(task="groove", **changes):
    return datamodules.MusicFrames(task, **SMALL | changes)


def rows(data, split="train", variant=0):
    table = data.split(split)
    return table.__getitems__([(index, variant) for index in range(len(table))])


@pytest.mark.parametrize("task", ["groove", "dynamics", "emotion"])
def test_made_songs_come_as_padded_batches_that_say_what_is_known(task):
    data = make(task)
    assert data.synthetic
    batch = rows(data, "test")
    assert batch.inputs.shape[2:] == (data.input_size,) == (len(data.features),)
    assert batch.targets.shape == batch.mask.shape
    assert batch.targets.shape[2] == data.output_size == len(data.outputs)
    assert (batch.inputs.dtype, batch.targets.dtype, batch.mask.dtype) == (torch.float32, torch.float32, torch.bool)
    for row, place in enumerate(batch.song.tolist()):
        song = next(song for song in data.library if song.name == data.songs_of("test")[place])
        frames = data.maker.frames(song)
        length = len(frames.inputs)
        assert torch.equal(batch.inputs[row, :length], torch.from_numpy(frames.inputs))
        assert torch.equal(batch.targets[row, :length], torch.from_numpy(frames.targets))
        assert torch.equal(batch.mask[row, :length], torch.from_numpy(frames.mask))
        assert not batch.inputs[row, length:].any()
        assert not batch.targets[row, length:].any()
        assert not batch.mask[row, length:].any()
    lengths = batch.mask.any(dim=2).sum(dim=1)
    assert task != "dynamics" or lengths.diff().min() >= 0  # of similar length, side by side


def test_windows_are_pieces_of_their_songs_and_cover_them():
    data = make(frames=40)
    whole = make().split("train")
    songs = rows(make(), "train")
    seen = torch.zeros(songs.inputs.shape[:2], dtype=torch.bool)
    assert len(data.split("train")) == len(whole) * 6  # 256 frames make 6.4 windows
    for variant in range(12):
        batch = rows(data, "train", variant)
        assert batch.inputs.shape[1] == 40
        for inputs, place in zip(batch.inputs, batch.song.tolist(), strict=True):
            steps = songs.inputs[place].unfold(0, 40, 1).transpose(1, 2)
            starts = (steps == inputs).all(dim=(1, 2)).nonzero().flatten()
            assert len(starts)
            seen[place, starts[0] : starts[0] + 40] = True
    assert seen.float().mean() > 0.95
    assert rows(data, "test").inputs.shape[1] == 256  # evaluation is of whole songs
    assert rows(make(frames=1000), "train").inputs.shape[1] == 256  # a window may be longer than every song


def test_transposition_and_tempo_are_for_training_only():
    plain, moved = make("dynamics"), make("dynamics", transpose=6, tempo=0.2)
    assert torch.equal(rows(plain, "test").inputs, rows(moved, "test").inputs)
    first, second = rows(plain).inputs, rows(moved).inputs
    height, tempo = plain.features.index("height"), plain.features.index("tempo")
    changed = {k for k in range(32) if not torch.equal(first[..., k], second[..., k])}
    assert changed == {height, tempo}
    steps = ((second - first)[..., height] * 128)[first[..., height] > 0]
    assert set(steps.round(decimals=3).tolist()) <= set(range(-6, 7))
    ratio = (second / first)[..., tempo][first[..., tempo] > 0]
    assert 0.8 <= ratio.min() < 0.9 < 1.1 < ratio.max() <= 1.2
    assert not torch.equal(rows(moved, variant=1).inputs, second)
    assert moved.input_mean == plain.input_mean  # of the songs as they are
    assert torch.equal(rows(make("dynamics", transpose=6)).inputs[..., tempo], first[..., tempo])


def test_statistics_are_those_of_the_training_songs():
    data = make("groove")
    batch = rows(data)
    inputs = batch.inputs[batch.inputs.any(dim=2)].double()
    np.testing.assert_allclose(data.input_mean, inputs.mean(dim=0), atol=1e-6)
    std = inputs.std(dim=0, correction=0)
    np.testing.assert_allclose(data.input_std, torch.where(std > 1e-6, std, 1.0), atol=1e-5)
    known = batch.mask.sum(dim=(0, 1))
    mean = (batch.targets * batch.mask).sum(dim=(0, 1)) / known.clamp(min=1)
    np.testing.assert_allclose(data.target_mean, mean, atol=1e-5)
    assert data.input_mean != make("groove", split_seed=3).input_mean
    assert all(isinstance(value, float) for value in data.target_mean)


def test_folds_part_the_songs_and_keep_groups_together():
    songs = grooves(40, 0)
    for song in songs:
        object.__setattr__(song, "group", f"session {int(song.name.split()[1]) // 3}")
    parts = [split_songs(songs, [0.8, 0.2, 0.0], 0, 4, fold) for fold in range(4)]
    tested = [set(part["test"]) for part in parts]
    assert set.union(*tested) == set(range(40))
    assert sum(map(len, tested)) == 40
    assert max(map(len, tested)) - min(map(len, tested)) <= 3
    for part in parts:
        held = [{songs[k].group for k in part[name]} for name in ("train", "val", "test")]
        assert sum(map(len, held)) == len(set.union(*held)) == 14
        assert part["val"]
        assert part["train"] == sorted(part["train"])
    assert parts == [split_songs(songs, [0.8, 0.2, 0.0], 0, 4, fold) for fold in range(4)]
    assert parts != [split_songs(songs, [0.8, 0.2, 0.0], 1, 4, fold) for fold in range(4)]
    shares = balanced([song.group for song in songs], {"a": 0.7, "b": 0.3}, 0)
    assert abs(len(shares["a"]) - 28) <= 3


def test_no_split_with_a_share_stays_empty_where_there_are_enough_groups():
    for groups in (["a"] * 3 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3, list("abcdef"), ["a"] * 20 + ["b", "c"]):
        parts = balanced(groups, {"train": 0.8, "val": 0.1, "test": 0.1}, 0)
        assert all(parts.values())
        assert len(parts["train"]) == max(len(part) for part in parts.values())
    assert balanced(["a"], {"train": 0.8, "val": 0.1, "test": 0.1}, 0) == {"train": [0], "val": [], "test": []}
    assert balanced(list("abc"), {"train": 1.0, "val": 0.0, "test": 0.0}, 0)["train"] == [0, 1, 2]


def test_an_official_split_holds_unless_there_are_folds():
    songs = phrases(9, 0)
    for number, song in enumerate(songs):
        object.__setattr__(song, "split", ("train", "val", "test")[number % 3])
    assert split_songs(songs, [0.8, 0.1, 0.1], 0)["val"] == [1, 4, 7]
    assert len(split_songs(songs, [0.8, 0.2, 0.0], 0, 9, 2)["test"]) == 1
    object.__setattr__(songs[0], "split", None)
    assert split_songs(songs, [1, 0, 0], 0)["train"] == list(range(9))


def test_folds_and_seeds_of_the_datamodule_change_what_is_held_out():
    held = [make(folds=3, fold=fold).songs_of("test") for fold in range(3)]
    assert sorted(name for part in held for name in part) == sorted(song.name for song in make().library)
    assert make(split_seed=0).library[0].velocity.tolist() != make(split_seed=1).library[0].velocity.tolist()


def test_no_result_depends_on_workers_or_processes():
    batches = [list(make(frames=32, tempo=0.1, num_workers=n).train_dataloader()) for n in (0, 2)]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(*batches, strict=True))
    table = make(frames=32, tempo=0.1).split("train")
    draws = [(3, 17), (0, 5), (9, 2), (1, 99)]
    together = table.__getitems__(draws)
    for rank in range(2):  # rows of one process are those of the global batch
        part = table.__getitems__(draws[rank::2])
        assert torch.equal(part.inputs, together.inputs[rank::2])
    assert not torch.equal(table.__getitems__([(3, 18)]).inputs, together.inputs[:1])


def test_what_an_exported_model_must_know():
    data = make("dynamics", task_options={"lookahead": 2})
    told = data.describe()
    assert told["features"] == data.features
    assert told["frame"] == {"length": 1, "unit": "notes", "latency": 2, "latency_unit": "beats"}
    assert "articulation is the note's length as a share" in told["meaning"]
    assert told["synthetic"]
    assert told["songs"] == {"train": 6, "val": 3, "test": 3}
    assert told["data"] == make("dynamics", frames=7).describe()["data"] == digest(data.library)
    assert told["data"] != make("dynamics", split_seed=1).describe()["data"]
    assert digest([scale_tempo(song, 1.01) for song in data.library]) != told["data"]


def test_a_frame_is_as_long_as_it_is():
    frame = make("groove", task_options={"lookahead": 3}).frame
    assert frame == {"length": 0.25, "unit": "beats", "latency": 3, "latency_unit": "frames"}
    assert [make("emotion", task_options=options).frame["unit"] for options in ({}, {"audio": True})] == [
        "beats",
        "seconds",
    ]
    assert make("emotion", task_options={"audio": True}).frame["length"] == 0.5


def test_songs_are_spread_over_the_set():
    assert len(make(songs=5).library) == 5
    assert len(make(songs=None).library) == 120


def test_few_songs_keep_their_order_and_some_of_each_official_split():
    songs = phrases(40, 0)
    assert spread(songs, 40) == songs
    assert spread(songs, 4) == [songs[k] for k in (0, 10, 20, 30)]
    for number, song in enumerate(songs):
        object.__setattr__(song, "split", "train" if number < 36 else "val" if number < 38 else "test")
    for limit in range(3, 40):
        chosen = [songs.index(song) for song in spread(songs, limit)]
        assert chosen == sorted(set(chosen))
        assert len(chosen) == limit
        assert {songs[k].split for k in chosen} == {"train", "val", "test"}
    assert Counter(song.split for song in spread(songs, 20)) == {"train": 18, "val": 1, "test": 1}


def test_songs_that_are_left_out_are_counted_with_what_they_lack(tmp_path, caplog):
    rows = [(f"a{k}", ("train", "validation", "test")[k % 3]) for k in range(6)]
    table = write_groove(tmp_path, rows) / "info.csv"
    table.write_text(table.read_text().replace("/a5,rock/half,105,beat", "/a5,rock/half,105,fill"))
    with caplog.at_level("INFO"):
        assert len(make(root=str(tmp_path), songs=3).library) == 3
    assert "groove: 3 of 5 songs; 1 without a beat in 4/4" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "choir"}, "choir"),
        ({"task_options": {"colour": 1}}, "colour"),
        ({"frames": 0}, "frames=0"),
        ({"transpose": -1}, "transpose=-1"),
        ({"tempo": 1.0}, "tempo=1.0"),
        ({"songs": 2}, "songs=2"),
        ({"split": [0.5, 0.5]}, "shares of train, val and test"),
        ({"split": [0.9, 0.2, 0.1]}, "together 1"),
        ({"folds": 1}, "folds=1"),
        ({"folds": 3, "fold": 3}, "fold=3"),
        ({"folds": 99}, "12 groups"),
        ({"root": "/nowhere"}, "/nowhere"),
    ],
)
def test_bad_settings_say_what_to_write(changes, message):
    with pytest.raises(LitmotifError, match=message):
        make(**changes).split("train")


def test_an_empty_split_names_the_numbers_and_what_decides():
    with pytest.raises(DataError, match=r"groove, made songs: no song for val \(train 6, val 0, test 6\).*data\.split"):
        make(split=[0.5, 0.0, 0.5]).val_dataloader()


@pytest.mark.parametrize(("stage", "needs"), [("fit", "val"), ("validate", "val"), ("test", ""), ("predict", "")])
def test_a_split_that_a_stage_needs_is_looked_at_before_it_begins(stage, needs, tmp_path):
    data = make(root=str(write_groove(tmp_path, [("a", "train"), ("b", "test"), ("c", "test")])))
    data.prepare_data()
    if needs:
        with pytest.raises(DataError, match=rf"{tmp_path.name}: no song for {needs} .*official split holds"):
            data.setup(stage)
    else:
        data.setup(stage)


def test_songs_without_labels_name_the_root_and_sets_that_have_them(tmp_path):
    symusic = pytest.importorskip("symusic")
    for number in range(3):
        score = symusic.Score(480)
        track = symusic.Track("piano", 0, False)
        track.notes.append(symusic.Note(0, 480, 60 + number, 80))
        track.notes.append(symusic.Note(480, 480, 62 + number, 80))
        score.tracks.append(track)
        score.dump_midi(tmp_path / f"{number}.mid")
    with pytest.raises(DataError, match=rf"{tmp_path.name}.*3 songs.*quadrant.*VGMIDI"):
        make("emotion", root=str(tmp_path)).split("train")
    data = make("dynamics", root=str(tmp_path))
    assert not data.synthetic
    assert sum(len(data.songs_of(name)) for name in ("train", "val", "test")) == 3
