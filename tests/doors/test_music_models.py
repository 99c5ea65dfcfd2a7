"""Music models as strangers use them: melodies that are music, scores that judge by nothing that was trained on."""

import copy
import math

import numpy as np
import pytest
import torch

import lit_models
from datamodules import MusicFrames
from datamodules.core import DataError
from datamodules.music.leakage import identities, unseen
from datamodules.music.render import song_of_events
from datamodules.music.ridge import fit_pieces, ridge
from datamodules.music.song import Song, sorted_notes
from datamodules.music.tasks import Frames, make_task
from datamodules.music.tasks.melody import HOLD, REST
from datamodules.music.tunes import tunes
from lit_models.cli import main
from lit_models.midi.generated import MadeMelodies, MelodyStatistics, fitting_scale
from lit_models.midi.generation import Choice
from lit_models.midi.metrics import Pieces, Regression

from ..cli.tiny import write
from ..midi.songs import make_trainer


# ---------------------------------------------------------------------- one thing of several is drawn
@pytest.mark.parametrize("temperature", [0.5, 0.7, 1.0, 2.0])
def test_a_melody_is_drawn_from_the_categorical_of_its_keys_and_the_rest_that_is_left(temperature):
    p = torch.tensor([0.5, 0.3, 0.1, 0.01])
    choose = Choice(temperature, 0.5, 1, torch.Generator().manual_seed(0))
    drawn = choose(p.logit().expand(40_000, 4)).float()
    assert drawn.sum(dim=1).max() == 1
    share = torch.cat([p, 1 - p.sum(keepdim=True, dim=0)]) ** (1 / temperature)
    wanted = share / share.sum()
    found = torch.cat([drawn.mean(dim=0), (1 - drawn.sum(dim=1)).mean()[None]])
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_events_are_drawn_by_kind_as_learnt_and_by_key_at_the_temperature(temperature):
    p = torch.tensor([0.1, 0.3, 0.1, 0.02, 0.4])  # a rest, three keys, a note that goes on
    choose = Choice(temperature, 0.5, None, torch.Generator().manual_seed(1), keys=slice(1, 4))
    drawn = choose(p.logit().expand(40_000, 5)).float()
    assert (drawn.sum(dim=1) == 1).all()
    keys = p[1:4] ** (1 / temperature)
    wanted = torch.cat([p[:1], p[1:4].sum() * keys / keys.sum(), p[4:]]) / p.sum()
    torch.testing.assert_close(drawn.mean(dim=0), wanted, atol=0.01, rtol=0)


@pytest.mark.parametrize("keys", [None, slice(1, 8)])
def test_a_temperature_of_nothing_takes_what_is_likeliest(keys):
    logits = torch.randn(500, 9, generator=torch.Generator().manual_seed(0))
    drawn = Choice(0.0, 0.5, 1, torch.Generator(), keys)(logits)
    assert torch.equal(drawn.int().argmax(dim=1), logits.argmax(dim=1))


def test_repeated_notes_are_told_from_held_ones():
    notes = sorted_notes([0.0, 0.5, 1.0, 2.0], [0.5, 0.5, 0.75, 1.0], [60, 60, 62, 62], [80] * 4, [0] * 4)
    song = Song("a", voices=("melody",), **notes)
    events = make_task("melody", {}).frames(song).targets.argmax(axis=1)
    assert events.tolist() == [HOLD, 60, HOLD, 62, HOLD, HOLD, REST, 62, HOLD, HOLD, HOLD]
    again = song_of_events(np.eye(128, dtype=bool)[[60, *events]], 4)
    for field in ("onset", "duration", "pitch"):
        np.testing.assert_allclose(getattr(again, field), getattr(song, field))


@pytest.mark.parametrize("pitch", [0, 127])
def test_keys_whose_columns_are_taken_count_an_octave_nearer(pitch):
    song = Song("a", **sorted_notes([0.0, 1.0], [1.0, 1.0], [60, pitch], [80] * 2, [0] * 2))
    events = make_task("melody", {}).frames(song).targets.argmax(axis=1)
    assert events[3] == {0: 12, 127: 115}[pitch]


# ---------------------------------------------------------------------- what is made stands beside true tunes
def test_statistics_of_a_melody_are_what_they_are_called():
    events = torch.tensor([60, HOLD, 60, REST, 62, HOLD, HOLD, 61])
    metric = MelodyStatistics(REST, HOLD)
    metric.update(events, fitting_scale(torch.tensor([60, 62, 64, 65])))
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx({"rests": 1 / 8, "note_length": 7 / 4, "repetitions": 1 / 3, "in_key": 3 / 4})


class Echo(torch.nn.Module):
    """Goes on with a tune as it does itself, or rests for ever below a temperature of 1."""

    device = torch.device("cpu")

    def __init__(self, tunes):
        super().__init__()
        self.tunes = tunes

    def generate(self, prompt, num_frames, temperature, encode, seed):
        own = self.tunes[seed].own.clone()
        assert len(own) == len(prompt) + num_frames
        assert torch.equal(own[: len(prompt)], prompt)
        if temperature < 1:
            own[len(prompt) :] = torch.nn.functional.one_hot(torch.tensor(REST), 128).bool()
        return own[None]


def test_rows_of_made_melodies_are_of_their_temperature_and_the_tunes_own():
    data = MusicFrames(task="melody", songs=30)
    trainer = make_trainer()
    trainer.datamodule = data
    own = data.tunes(3)
    assert len(own) == 3
    found = MadeMelodies(data.outputs).judge(Echo(own), trainer, 3)
    for name in ("rests", "note_length", "repetitions", "in_key"):
        assert found[name] == found[f"{name}/tunes"]
    assert found["rests/t0.7"] == 1
    assert math.isnan(found["note_length/t0.7"])
    assert 0.01 < found["rests"] < 0.2
    assert found["in_key/tunes"] == 1


def test_a_model_of_tunes_is_tested_by_what_it_makes(tmp_path):
    data = MusicFrames(task="melody", songs=12, split=[0.5, 0.25, 0.25], frames=16, batch_size=4, steps_per_epoch=1)
    links = {name: getattr(data, name) for name in MusicFrames.links if name != "ridge"}
    for made, there in ((1, True), (0, False)):
        module = lit_models.MelodyTransformer(network={"backbone": "gru", "hidden_size": 8}, made=made, **links)
        trainer = make_trainer()
        trainer.test(module, datamodule=data, verbose=False)
        names = {f"test/{name}{row}" for name in ("rests", "repetitions") for row in ("", "/t0.7", "/tunes")}
        assert (names <= trainer.callback_metrics.keys()) == there


# ---------------------------------------------------------------------- nothing that was trained on judges
def test_a_song_is_known_by_its_notes_and_its_group():
    one, other = tunes(3, 0)[:2]
    renamed = copy.copy(one)
    object.__setattr__(renamed, "name", "another"), object.__setattr__(renamed, "group", "another")
    assert identities(one) == identities(renamed) != identities(other)
    seen = {"train": identities(renamed), "val": identities(other)}
    with pytest.warns(UserWarning, match=r"trained on 1 of the 2 val songs, such as tune 0.*left out"):
        assert unseen([one, other], [0, 1], seen, "val", "here") == [1]
    with pytest.raises(DataError, match=r"here: .* 2 of the 2 test songs.*no song is left"):
        unseen([one, other], [0, 1], seen, "test", "here")
    assert unseen([one, other], [0, 1], {}, "test", "here") == [0, 1]


CONFIG = """\
# litmotif fit -c drums.yaml
# A few made grooves
model: {class_path: GroovePredictor, init_args: {network: {backbone: gru, hidden_size: 8}}}
data:
  class_path: MusicFrames
  init_args: {task: groove, songs: 12, split: [0.5, 0.25, 0.25], frames: 32, batch_size: 4}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
  callbacks: [{class_path: ModelCheckpoint, init_args: {filename: best}}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two folds, and a run beside the first one on its splits."""
    folder = tmp_path_factory.mktemp("leaks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(folder, "drums.yaml", CONFIG)
        for name, fold, seed in (("a", 0, 0), ("same", 0, 1), ("b", 1, 0)):
            folds = ["--data.folds=3", f"--data.fold={fold}"]
            root = [f"--trainer.default_root_dir={name}", f"--seed_everything={seed}", "--test_after_fit=false"]
            assert main(["fit", "-c", "drums.yaml", *root, *folds]) == 0
    return folder


@pytest.fixture
def runs(home, monkeypatch):
    monkeypatch.chdir(home)


def test_members_that_have_trained_on_the_judged_songs_are_refused(runs, capsys):
    assert main(["ensemble", "a/version_0", "b/version_0", "--device", "cpu", "--out", "leaky"]) == 1
    assert "no song is left to judge it by" in capsys.readouterr().err
    assert main(["ensemble", "a/version_0", "same/version_0", "--device", "cpu", "--out", "honest"]) == 0


def test_a_checkpoint_is_tested_on_no_song_that_it_was_trained_on(runs, capsys):
    test = ["test", "-c", "drums.yaml", "--ckpt_path", "a/version_0/checkpoints/best.ckpt", "--data.folds=3"]
    assert main([*test, "--data.fold=0"]) == 0
    assert main([*test, "--data.fold=1"]) == 1
    assert "no song is left to judge it by" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"trained on \d of the \d+ test songs.*left out"):
        assert main([*test[:5], "--data.songs=40"]) == 0
    validate = ["validate", *test[1:], "--data.fold=0"]
    assert main(validate) == 0  # chosen by these songs, but not trained on them


def test_a_run_of_before_tells_what_it_has_seen_by_its_options(runs, home):
    run = lit_models.cli.commands.trained_run.TrainedRun.find("a/version_0")
    kept = run.seen()
    del run.content["MusicFrames"]["seen"]
    assert run.seen() == kept
    assert {name: len(of) for name, of in kept.items()} == {"train": 5, "val": 3}


# ---------------------------------------------------------------------- emotion by pieces, beside a ridge
def test_pieces_are_judged_by_their_means():
    source = torch.Generator().manual_seed(0)
    target, prediction = (torch.rand(6, 9, 2, generator=source) for _ in range(2))
    mask = torch.rand(6, 9, 2, generator=source) < 0.7
    mask[5] = False
    pieces, plain = Pieces(2, ["v", "a"], prefix="piece_"), Regression(2, ["v", "a"])
    pieces.update(prediction, target, mask)
    means = [
        torch.stack([(x[k] * mask[k]).sum(dim=0) / mask[k].sum(dim=0) for k in range(5)]) for x in (prediction, target)
    ]
    plain.update(*means, torch.ones(5, 2, dtype=torch.bool))
    for name, value in plain.compute().items():
        assert pieces.compute()[f"piece_{name}"] == pytest.approx(float(value), abs=1e-5), name


def test_ridge_solves_its_equations_and_finds_a_line_in_noise():
    rng = np.random.default_rng(0)
    features, line = rng.standard_normal((60, 5)), np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0], [0, 0], [0, 0]])
    weights, intercept = ridge(features, features @ line + 3.0)
    np.testing.assert_allclose(weights, line, atol=1e-3)
    np.testing.assert_allclose(intercept, 3.0, atol=1e-3)
    noise = rng.standard_normal((60, 2))
    assert np.abs(ridge(features, noise)[0]).max() < np.abs(np.linalg.lstsq(features, noise, rcond=None)[0]).max()
    songs = [
        Frames(np.tile(x, (4, 1)), np.tile(x @ line, (4, 1)), np.ones((4, 2), bool))
        for x in features.astype(np.float32)
    ]
    found = fit_pieces(songs, [0, 1], np.ones(5, bool))
    np.testing.assert_allclose(found[:-1], line, atol=1e-3)
    np.testing.assert_allclose(found[-1], 0, atol=1e-3)
    assert not fit_pieces(songs, [0, 1], np.arange(5) != 1)[1].any()


@pytest.fixture(scope="module")
def moods():
    data = MusicFrames(task="emotion", songs=60, frames=64, batch_size=16)
    links = {name: getattr(data, name) for name in MusicFrames.links}
    return data, links


def judged(module, data):
    trainer = make_trainer()
    trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_the_recogniser_begins_as_the_ridge_that_stands_beside_it(moods):
    data, links = moods
    begun = judged(lit_models.EmotionRecognizer(**links).eval(), data)
    random = judged(lit_models.EmotionRecognizer(begin_at_ridge=False, **links).eval(), data)
    for name in ("valence", "arousal"):
        ridges, own = begun[f"test/piece_r2_{name}/ridge"], begun[f"test/piece_r2_{name}"]
        assert own > ridges - 0.15 > random[f"test/piece_r2_{name}"]
    assert begun["test/piece_r2_arousal/ridge"] > 0.8
    with pytest.raises(ValueError, match="ridge has 2 rows"):
        lit_models.EmotionRecognizer(ridge=[[0.0, 0.0]] * 2)


def test_folds_are_pooled_over_their_pieces(moods):
    """Each model and its baselines on its own songs: the moments of all add up, and R2 is of the pooled variance."""
    data, links = moods
    models = [lit_models.EmotionRecognizer(**links | {"target_mean": [level] * 64}).eval() for level in (0.5, -0.5)]
    batches = list(data.test_dataloader()), list(data.val_dataloader())
    found = models[0].pooled(zip(models, batches, strict=True))
    pieces = Pieces(2, ["valence", "arousal"])
    for model, of in zip(models, batches, strict=True):
        for batch in of:
            pieces.update(*(part[..., :2] for part in (model(batch.inputs), batch.targets, batch.mask)))
    assert float(found["piece_r2_valence"]) == pytest.approx(float(pieces.compute()["r2_valence"]), abs=1e-6)
    assert {f"piece_r2_valence/{row}" for row in ("ridge", "constant", "chance")} <= found.keys()
    assert found["piece_r2_valence/constant"] < 0
