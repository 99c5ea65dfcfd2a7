"""A transposed melody has exactly the transposed chords, before and after training, and in the exported file."""

import pytest
import torch
from torch import nn

from datamodules.music.augment import Movement
from datamodules.music.tasks import make_task
from lit_models.export.rtneural import TOLERANCE, export
from lit_models.midi.equivariance import average, orbits, pitch_classes
from lit_models.midi.harmony import HarmonyPredictor
from lit_models.midi.stack import LayerStack
from litmotif.batches.music import MusicBatch

from ..nested import merged

TASK = make_task("harmony", {"vocabulary": "extended", "previous_chord": True, "lookahead": 3, "size": "newest"})
"""Columns that rotate, stand still, and are in reserve, among inputs and outputs."""


def predictor(backbone="residual_tcn", **options):
    torch.manual_seed(0)
    size = len(TASK.inputs)
    columns = {
        "input_mean": torch.linspace(-1, 1, size).tolist(),
        "input_std": torch.linspace(0.5, 2, size).tolist(),
        "target_mean": torch.linspace(0.5, 1, 64).softmax(0).tolist(),
    }
    names = {"features": TASK.inputs.names, "outputs": TASK.targets.names}
    sizes = {"backbone": backbone, "hidden_size": 28, "num_layers": 2, "dropout": 0.2}  # 2 x 12, and 4 that stand still
    layers = {"network": sizes, "equivariant": True}
    return HarmonyPredictor(size, 64, **merged(columns, names, layers, options))


def moved_apart(module):
    """How far the chords of a moved melody are from the moved chords, and how far apart chords are at all."""
    inputs = torch.randn(3, 20, len(TASK.inputs))
    semitones, same = torch.tensor([1, -5, 6]), torch.ones(3)
    module.eval()
    with torch.no_grad():
        first, _ = module.run(inputs)
        second, _ = module.run(Movement(TASK.inputs, 6)(inputs, semitones, same))
    return (second - Movement(TASK.targets, 6)(first, semitones, same)).abs().max(), first.std(dim=-1).min()


@pytest.mark.parametrize("backbone", ["residual_tcn", "mlp", "requirement"])
def test_transposition_commutes_with_the_network_and_stays_so_in_training(backbone):
    module = predictor(backbone)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for _ in range(2):
        apart, scale = moved_apart(module)
        assert apart < 1e-5
        assert scale > 1e-2
        targets = torch.eye(64)[torch.randint(0, 24, (2, 9))]
        batch = MusicBatch(torch.randn(2, 9, len(TASK.inputs)), targets, torch.ones(2, 9, 64).bool(), torch.arange(2))
        before = [p.clone() for p in module.parameters()]
        module.train()
        sum(module.losses(module.sums(module.run(batch.inputs)[0], batch)).values()).backward()
        optimizer.step()
        assert all((p != q).any() for p, q in zip(module.parameters(), before, strict=True))


def test_without_it_nothing_commutes():
    assert moved_apart(predictor(equivariant=False))[0] > 1e-2


def test_an_orbit_is_what_transpositions_make_of_an_entry():
    rows, columns = pitch_classes(TASK.targets.names), pitch_classes(TASK.inputs.names)
    orbit = orbits(rows, columns)

    def move(classes, k):  # where each column goes
        groups = [[n for n, c in enumerate(classes) if c == pitch_class] for pitch_class in range(12)]
        return torch.tensor([n if c < 0 else groups[(c + k) % 12][groups[c].index(n)] for n, c in enumerate(classes)])

    together = torch.stack([orbit[move(rows, k)[:, None], move(columns, k)] for k in range(12)])
    assert (together == orbit).all()
    sizes = orbit.flatten().bincount()
    rotating = torch.tensor([c >= 0 for c in rows])[:, None] | torch.tensor([c >= 0 for c in columns])
    assert (sizes[orbit] == torch.where(rotating, 12, 1)).all()  # and nothing else is in it


def test_the_mean_of_an_orbit_commutes_and_keeps_the_mean():
    classes = [*range(12), -1, *range(12), -1]
    values = torch.randn(26)
    found = average(values, classes)
    assert found[:12].unique().numel() == found[13:25].unique().numel() == 1
    assert (found[[12, 25]] == values[[12, 25]]).all()
    torch.testing.assert_close(found.mean(), values.mean())


def test_names_tell_the_pitch_class():
    names = ["melody_now:C", "key:C#:min", "class3:Eb:maj", "bar_beat:0", "rest", "previous:N", "reserved:3"]
    assert pitch_classes(names) == [0, 1, 3, -1, -1, -1, -1]


def test_the_exported_chain_is_plain_and_commutes_too(tmp_path):
    module = predictor().eval()
    assert export(module, tmp_path, frames=20).difference <= TOLERANCE
    layers = module.export_layers()
    assert all(type(layer) in (nn.Conv1d, nn.Linear, nn.PReLU, nn.ReLU, nn.Softmax, nn.Dropout) for layer in layers)
    inputs = torch.randn(1, 9, len(TASK.inputs))
    mean, std = module.export_normaliser()
    with torch.no_grad():
        chain, _ = LayerStack(layers).eval()((inputs - mean) / std)
        torch.testing.assert_close(chain, module(inputs))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"network": {"backbone": "gru"}}, "a GRU does not commute with transposition. Choose backbone"),
        ({"features": ()}, "features and outputs must name the columns"),
        ({"features": ["melody_now:D", *TASK.inputs.names[1:]]}, "needs equally many"),
    ],
)
def test_what_cannot_commute_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        predictor(**options)
