"""A trained model makes music or motion of a prompt; what comes out is the same for the same seed."""

import hashlib
import wave
from pathlib import Path

import pytest
import torch

from datamodules import MotionClips
from datamodules.motion.readers import read_folder
from datamodules.music.tasks import make_task
from lit_models import MDLMDiT, MelodyTransformer, MotionDDPM
from lit_models.cli import main
from lit_models.core.checkpoint import describe

from ..conformance.registry import REGISTRY
from .tiny import write

symusic = pytest.importorskip("symusic")


def leave(module, folder, data, **options):
    """A run of it."""
    run = folder / "runs/tiny/version_0"
    (run / "checkpoints").mkdir(parents=True)
    kept = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "litmotif": describe(module)}
    torch.save(kept | {"datamodule_hyper_parameters": options}, run / "checkpoints" / "best.ckpt")
    write(run, "config.yaml", f"data: {{class_path: {data}}}\n")
    return write(folder, "tiny.yaml", f"model: {{class_path: {type(module).__name__}}}\n")


@pytest.fixture
def melody():
    torch.manual_seed(0)
    columns = make_task("melody", {}).targets.names
    module = MelodyTransformer(network={"backbone": "gru", "hidden_size": 8}, outputs=columns)
    module.network.layers[0].weight.data[:, :2] *= 50  # it listens to the wanted emotion
    module.network.layers[-1].weight.data *= 20  # and has an opinion
    return module


@pytest.fixture
def config(melody, in_tmp):
    return leave(melody, in_tmp, "tests.cli.songs.Tunes")


def make(config, out, *options):
    short = [] if config == "motion" else ["--bars", "2", "--prompt_bars", "1"]
    assert main(["generate", "-c", config, "--out", out, *short, *options]) == 0
    return {path.name: path for path in Path(out).iterdir()}


def notes(path):
    read = symusic.Score(str(path))
    return [(n.time / read.tpq, n.pitch) for track in read.tracks for n in track.notes]


def seconds(path):
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def test_midi_picture_and_sound_of_each_continuation(config, capsys):
    files = make(config, "made", "--number", "2", "--seed", "3")
    assert set(files) == {"3_0.mid", "3_1.mid", "3_0.wav", "3_1.wav", "3.png"}
    out = capsys.readouterr().out
    assert all(str(path) in out for path in files.values())
    assert files["3.png"].read_bytes().startswith(b"\x89PNG")
    assert seconds(files["3_0.wav"]) == pytest.approx(12 / 4 + 0.5, abs=0.01)
    first, second = (notes(files[f"3_{k}.mid"]) for k in (0, 1))
    given = [(0, 60), (1, 61), (2, 62), (3, 63)]
    assert first[:4] == second[:4] == given
    assert first[4:] != second[4:]
    assert all(4 <= onset < 12 for onset, _ in first[4:])
    onsets = [onset for onset, _ in first]
    assert len(set(onsets)) == len(onsets)  # a melody: one key at once


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are slow, and drawn elsewhere."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *args, **kwargs: None)


def test_bars_are_counted_from_the_first_whole_one(melody, in_tmp, undrawn):
    files = make(leave(melody, in_tmp, "tests.cli.songs.Tunes", pickup=True), "made")
    assert seconds(files["0_0.wav"]) == pytest.approx((1 + 3 * 3) / 4 + 0.5, abs=0.01)
    assert [pitch for _, pitch in notes(files["0_0.mid"])[:4]] == [60, 61, 62, 63]


def test_the_seed_decides_and_each_option_changes_something(config, undrawn):
    def digest(out, *options):
        (path,) = [path for name, path in make(config, out, *options).items() if name.endswith("_0.mid")]
        return hashlib.sha256(path.read_bytes()).hexdigest()

    whole = digest("a")
    assert digest("b") == whole
    options = [["--seed", "1"], ["--temperature", "3"], ["--song", "1"], ["--song", "two"]]
    options += [["--valence", "1"], ["--prompt_bars", "2"]]
    found = [digest(f"c{k}", *option) for k, option in enumerate(options)]
    assert found[2] == found[3]
    assert len({whole, *found}) == len(options)


def test_motion_from_text_and_a_beginning(in_tmp, monkeypatch, capsys):
    monkeypatch.setattr("datamodules.motion.datamodule.save_film", lambda path, clips: path.touch())  # slow
    entry = REGISTRY["MotionDDPM"]
    options = dict(entry.tiny_data)
    data = MotionClips(**options)
    links = {name: getattr(data, name) for name in data.links}
    torch.manual_seed(0)
    module = MotionDDPM(**links | dict(entry.tiny))
    for weights in module.network.parameters():
        weights.data += 0.1 * torch.randn_like(weights)  # the last layer begins with zeros
    config = leave(module, in_tmp, "datamodules.MotionClips", **options)
    asked = ["generate", "-c", config, "--text", "a person waves", "--num_frames", "7", "--number", "2", "--out"]
    assert main([*asked, "a"]) == 0, capsys.readouterr().err
    assert {path.name for path in Path("a").iterdir()} == {f"0_{k}.{e}" for k in (0, 1) for e in ("bvh", "npz", "gif")}
    first, second = (read_folder(Path(f"a/0_{k}.npz"), "native")[0] for k in (0, 1))
    assert (len(first), first.captions) == (7, ("a person waves",))
    assert not torch.equal(first.positions, second.positions)
    drawn = {}
    for name, more in {"again": [], "guided": ["--guidance_scale=9"], "begun": ["--prefix_frames=3"]}.items():
        assert main([*asked, name, *more]) == 0, capsys.readouterr().err
        drawn[name] = read_folder(Path(f"{name}/0_0.npz"), "native")[0].positions
    assert torch.equal(drawn["again"], first.positions)
    assert not torch.equal(drawn["guided"], first.positions)
    given = data.clip(data.split("test").rows[0].motion[:3], "given").positions
    assert torch.allclose(drawn["begun"][:3], given, atol=1e-5)
    assert main([*asked, "b", "--prefix_frames=8"]) == 2
    assert "0 to 7" in capsys.readouterr().err


def test_a_module_that_generates_nothing_is_refused_with_the_names_of_those_that_do(in_tmp, capsys):
    module = MDLMDiT(horizon=4, view_size=(5, 5), network={"hidden_size": 16, "num_layers": 1, "num_heads": 2})
    assert main(["generate", "-c", leave(module, in_tmp, "datamodules.MiniGridPlans")]) == 1
    assert "MDLMDiT on MiniGridPlans: MelodyTransformer, MotionDDPM can generate" in capsys.readouterr().err


def test_help_names_the_options_of_the_run(config, capsys):
    assert main(["generate", "--help"]) == 0
    assert "also the options of that run" in capsys.readouterr().out
    assert main(["generate", "-c", config, "--help"]) == 0
    out = capsys.readouterr().out
    assert "bars to make" in out
    assert "temperature" in out


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--song", "7"], 2, ["--song 7", "2 songs: one, two"]),
        (["--song", "trained on"], 2, ["--song trained on"]),
        (["--soundfont", "none.sf2"], 1, ["none.sf2"]),
        (["--ckpt_path", "last"], 1, ["last.ckpt"]),
        (["--bars", "0"], 2, ["--bars 0"]),
        (["--text", "a waltz"], 2, ["--text"]),
        (["-c", "nowhere"], 2, ["nowhere"]),
    ],
)
def test_a_wrong_request_leaves_nothing(options, status, words, config, in_tmp, capsys):
    assert main(["generate", "-c", config, "--out", "made", "--bars", "1", *options]) == status
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert not any(in_tmp.glob("made/*"))
