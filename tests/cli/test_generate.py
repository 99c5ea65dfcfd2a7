"""A trained model goes on with a song; what comes out is the same for the same seed."""

import hashlib
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.music.song import Meter, Song, sorted_notes
from datamodules.music.tasks import make_task
from lit_models import MDLMDiT, MelodyTransformer
from lit_models.cli import main
from lit_models.cli.commands import generate
from lit_models.core.checkpoint import describe

from .tiny import write

symusic = pytest.importorskip("symusic")


def tune(name, pitches):
    n = len(pitches)
    notes = sorted_notes(np.arange(n), np.full(n, 1.0), pitches, np.full(n, 90), np.zeros(n))
    return Song(name, tempos=np.array([[0.0, 240.0]]), **notes)


class Data:
    """What the command asks of a datamodule."""

    def __init__(self):
        self.task, self.maker = "melody", make_task("melody", {})
        self.library = [tune("trained on", [40] * 16), tune("one", list(range(60, 76))), tune("two", [70, 72] * 8)]

    def songs_of(self, split):
        return {"test": ["one", "two"]}.get(split, ["trained on"])


def leave(module, folder):
    """A run of it."""
    checkpoints = folder / "runs/tune/version_0/checkpoints"
    checkpoints.mkdir(parents=True)
    kept = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "litmotif": describe(module)}
    torch.save(kept, checkpoints / "best.ckpt")


@pytest.fixture
def config(in_tmp, monkeypatch):
    torch.manual_seed(0)
    module = MelodyTransformer(backbone="gru", hidden_size=8)
    module.network.layers[0].weight.data[:, :2] *= 50  # it listens to the wanted emotion
    leave(module, in_tmp)
    monkeypatch.setattr(generate, "data_of", lambda run: Data())
    return write(in_tmp, "tune.yaml", "model: {class_path: MelodyTransformer}\n")


def make(config, out, *options):
    assert main(["generate", "-c", config, "--out", out, "--bars", "2", "--prompt_bars", "1", *options]) == 0
    return {path.name: path for path in Path(out).iterdir()}


def notes(path):
    read = symusic.Score(str(path))
    return [(n.time / read.tpq, n.pitch) for track in read.tracks for n in track.notes]


def test_midi_picture_and_sound_of_each_continuation(config, capsys):
    files = make(config, "made", "--number", "2", "--seed", "3")
    assert set(files) == {"3_0.mid", "3_1.mid", "3_0.wav", "3_1.wav", "3.png"}
    out = capsys.readouterr().out
    assert all(str(path) in out for path in files.values())
    assert files["3.png"].read_bytes().startswith(b"\x89PNG")
    with wave.open(str(files["3_0.wav"])) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(12 / 4 + 0.5, abs=0.01)
    first, second = (notes(files[f"3_{k}.mid"]) for k in (0, 1))
    given = [(0, 60), (1, 61), (2, 62), (3, 63)]
    assert first[:4] == second[:4] == given
    assert first[4:] != second[4:]
    assert all(4 <= onset < 12 for onset, _ in first[4:])
    onsets = [onset for onset, _ in first]
    assert len(set(onsets)) == len(onsets)  # a melody: one key at once


def test_bars_are_counted_from_the_first_whole_one(config, monkeypatch):
    data = Data()
    data.library[1] = replace(data.library[1], meters=(Meter(0.0, 1, 4), Meter(1.0, 3, 4)))
    monkeypatch.setattr(generate, "data_of", lambda run: data)
    monkeypatch.setattr(generate, "to_png", lambda figure: b"")
    files = make(config, "made")
    with wave.open(str(files["0_0.wav"])) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx((1 + 3 * 3) / 4 + 0.5, abs=0.01)
    assert [pitch for _, pitch in notes(files["0_0.mid"])[:4]] == [60, 61, 62, 63]


def test_the_seed_decides_and_each_option_changes_something(config, monkeypatch):
    monkeypatch.setattr(generate, "to_png", lambda figure: b"")  # slow, and drawn elsewhere

    def digest(out, *options):
        (path,) = [path for name, path in make(config, out, *options).items() if name.endswith("_0.mid")]
        return hashlib.sha256(path.read_bytes()).hexdigest()

    whole = digest("a")
    assert digest("b") == whole
    options = [["--seed", "1"], ["--temperature", "3"], ["--polyphony", "9"], ["--song", "1"], ["--song", "two"]]
    options += [["--valence", "1"], ["--prompt_bars", "2"]]
    found = [digest(f"c{k}", *option) for k, option in enumerate(options)]
    assert found[3] == found[4]
    assert len({whole, *found}) == len(options)


def test_a_module_that_makes_no_music_is_refused_with_the_names_of_those_that_do(in_tmp, capsys):
    leave(MDLMDiT(horizon=4, view_size=(5, 5), hidden_size=16, num_layers=1, num_heads=2), in_tmp)
    config = write(in_tmp, "tune.yaml", "model: {class_path: MDLMDiT}\n")
    assert main(["generate", "-c", config]) == 1
    err = capsys.readouterr().err
    assert "MDLMDiT; MelodyTransformer can generate music" in err


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--song", "7"], 1, ["--song 7", "2 songs: one, two"]),
        (["--song", "trained on"], 1, ["--song trained on"]),
        (["--soundfont", "none.sf2"], 1, ["none.sf2"]),
        (["--ckpt_path", "last"], 1, ["last.ckpt"]),
        (["--bars", "0"], 2, ["--bars 0"]),
        (["-c", "nowhere"], 2, ["nowhere"]),
    ],
)
def test_a_wrong_request_leaves_nothing(options, status, words, config, in_tmp, capsys):
    assert main(["generate", "-c", config, "--out", "made", "--bars", "1", *options]) == status
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert not any(in_tmp.glob("made/*"))
