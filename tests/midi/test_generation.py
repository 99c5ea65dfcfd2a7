"""Rolls that go on as the model says, and students that learn from a teacher."""

import pytest
import torch

import lit_models
from lit_models.midi.generation import Choice
from lit_models.midi.melody import Distillation

from ..nested import merged
from .songs import Data, Songs, make_songs, make_trainer

KEYS = 88


def a_model(**changes):
    torch.manual_seed(0)
    options = {"input_size": KEYS, "output_size": KEYS, "network": {"backbone": "gru", "hidden_size": 32}}
    return lit_models.MelodyTransformer(**merged(options, changes)).eval()


def certain(model, key_after):
    """A model whose next keys are a function of the keys now."""
    last = model.network.layers[-1]
    first = model.network.layers[0]
    with torch.no_grad():
        first.weight.zero_(), first.bias.zero_(), last.weight.zero_(), last.bias.fill_(-20.0)
        for now, later in key_after.items():
            first.weight[now, now] = 10.0
            last.weight[later, now] = 40.0
    return model


def prompt(*keys):
    roll = torch.zeros(1, len(keys), KEYS)
    for t, key in enumerate(keys):
        roll[0, t, key] = 1
    return roll


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_is_sure_is_followed(temperature):
    model = certain(a_model(network={"backbone": "mlp", "hidden_size": KEYS}), {3: 5, 5: 8, 8: 3})
    made = model.generate(prompt(8, 3), 4, temperature=temperature)
    assert made.shape == (1, 6, KEYS)
    assert [frame.nonzero().flatten().tolist() for frame in made[0]] == [[8], [3], [5], [8], [3], [5]]


def test_the_same_seed_makes_the_same_music_and_the_mode_comes_back():
    model = a_model().train()
    one, same, other = (model.generate(prompt(3), 12, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert model.training


def test_drawn_keys_are_as_frequent_as_they_are_probable():
    logits = torch.tensor([[2.0, 0.0, -1.0]]).expand(20_000, 3)
    for temperature in (1.0, 3.0):
        choose = Choice(temperature, 0.5, None, torch.Generator().manual_seed(0))
        expected = (logits[0] / temperature).sigmoid()
        torch.testing.assert_close(choose(logits).float().mean(dim=0), expected, atol=0.02, rtol=0)


def test_threshold_and_polyphony_bound_what_is_taken():
    logits = torch.tensor([[2.0, 1.0, 0.5, -3.0]])
    source = torch.Generator()
    assert Choice(0.0, 0.7, None, source)(logits).tolist() == [[True, True, False, False]]
    assert Choice(0.0, 0.7, 1, source)(logits).tolist() == [[True, False, False, False]]
    model = a_model()
    model.threshold.fill_(0.9999)
    assert not model.generate(prompt(3), 5, temperature=0.0)[:, 1:].any()
    assert model.generate(prompt(3), 5, temperature=0.0, threshold=0.0)[:, 1:].all()
    assert model.generate(prompt(3), 5, polyphony=1).sum(dim=-1).max() == 1


def test_features_of_the_roll_so_far_are_asked_for():
    model = a_model(input_size=4)
    with pytest.raises(ValueError, match="give encode"):
        model.generate(prompt(3), 2)
    lengths = []

    def encode(rolls):
        lengths.append(rolls.shape[1])
        return rolls[:, -1, :4].float()

    assert model.generate(prompt(3, 4), 3, encode=encode).shape == (1, 5, KEYS)
    assert lengths == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="88 keys"):
        model.generate(torch.zeros(1, 2, 12), 2, encode=encode)


# ---------------------------------------------------------------------- distillation
def songs():
    keys = (torch.rand(6, 20, KEYS, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    return Songs(keys[:, :-1], keys[:, 1:], torch.ones(6, 19, KEYS, dtype=torch.bool), torch.arange(6))


@pytest.fixture
def teacher(tmp_path):
    """A teacher that knows which keys sound at all."""
    model = a_model(network={"backbone": "transformer", "num_layers": 1}).train()
    with torch.no_grad():
        model.network.head.weight.zero_()
        model.network.head.bias.copy_(torch.linspace(-4, 1, KEYS))
    trainer = make_trainer(max_epochs=0)
    trainer.fit(model, Data(songs()))
    trainer.save_checkpoint(tmp_path / "teacher.ckpt")
    return str(tmp_path / "teacher.ckpt")


def fitted(**changes):
    student = a_model(optimizer={"lr": 0.02}, **changes).train()
    trainer = make_trainer(max_epochs=8)
    trainer.fit(student, Data(songs()))
    return student.eval(), trainer.callback_metrics


def test_a_student_takes_over_the_probabilities_of_its_teacher(teacher):
    wanted = torch.linspace(-4, 1, KEYS).sigmoid()
    taught, logged = fitted(distil={"teacher": teacher, "weight": 1.0, "temperature": 1.0})
    alone, _ = fitted()
    gap = [(model(songs().inputs) - wanted).abs().mean() for model in (taught, alone)]
    assert gap[0] < gap[1] / 3
    assert "train/loss_distil" in logged
    assert logged["val/loss"] == pytest.approx(float(logged["val/nll"]), rel=1e-5)


def test_weight_and_temperature_change_what_is_learnt(teacher):
    weights = [
        fitted(**merged({"distil": {"teacher": teacher}}, options))[0].network.layers[0].weight
        for options in ({}, {"distil": {"weight": 0.9}}, {"distil": {"temperature": 5.0}})
    ]
    assert not torch.allclose(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


def test_the_teachers_likelihood_stands_beside_the_students(teacher):
    student, _ = fitted(distil={"teacher": teacher})
    trainer = make_trainer()
    trainer.test(student, Data(songs()), verbose=False)
    logits = torch.linspace(-4, 1, KEYS).expand(6, 19, KEYS)
    nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, songs().targets) * KEYS
    assert float(trainer.callback_metrics["test/nll/teacher"]) == pytest.approx(float(nll), rel=1e-4)
    assert not any("teacher" in name.lower() for name in student.state_dict())


def test_a_student_can_be_tested_where_its_teacher_is_not(teacher, tmp_path):
    student, _ = fitted(distil={"teacher": teacher})
    student.distil, student._teacher = Distillation(str(tmp_path / "gone.ckpt")), []
    with pytest.warns(UserWarning, match="its row is left out"):
        make_trainer().test(student, Data(songs()), verbose=False)
    with pytest.raises(FileNotFoundError, match=r"gone\.ckpt"):
        make_trainer().fit(a_model(distil={"teacher": str(tmp_path / "gone.ckpt")}).train(), Data(songs()))


def test_a_teacher_of_other_inputs_is_refused(teacher):
    student = a_model(input_size=64, output_size=128, distil={"teacher": teacher}).train()
    with pytest.raises(ValueError, match="other inputs or keys"):
        make_trainer().fit(student, Data(make_songs("MelodyTransformer")))
