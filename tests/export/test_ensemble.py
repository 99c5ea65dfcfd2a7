"""The mean of models as numbers, and as one chain: the same to 1e-6."""

import copy
from itertools import chain

import pytest
import torch
from torch import nn

from lit_models.export.block_diagonal import EnsembleError, block_diagonal
from lit_models.export.ensemble import mean_logits

B, T, F, K = 2, 7, 5, 3


def run(chain, x):
    """A chain on frames (B, T, F), written down again in the plainest way."""
    for layer in chain:
        if isinstance(layer, nn.LSTM | nn.GRU):
            x, _ = layer(x)
        elif isinstance(layer, nn.Conv1d):
            past = (layer.kernel_size[0] - 1) * layer.dilation[0]
            x = layer(nn.functional.pad(x.transpose(1, 2), (past, 0))).transpose(1, 2)
        elif isinstance(layer, nn.BatchNorm1d | nn.PReLU):
            x = layer(x.transpose(1, 2)).transpose(1, 2)
        else:
            x = layer(x)
    return x


def lstm(width):
    return [nn.Linear(F, width), nn.Tanh(), nn.Dropout(0.5), nn.LSTM(width, width + 1, 2, batch_first=True)]


CHAINS = {
    "dense": lambda w: [nn.Linear(F, w), nn.ReLU(), nn.Linear(w, w + 2, bias=False), nn.ELU(), nn.Linear(w + 2, K)],
    "lstm": lambda w: [*lstm(w), nn.Linear(w + 1, K)],
    "gru first": lambda w: [nn.GRU(F, w, batch_first=True, bias=w != 4), nn.Linear(w, K)],
    "recurrent last": lambda w: [nn.Linear(F, w), nn.GRU(w, K, 2, batch_first=True)],
    "tcn": lambda w: [
        *(nn.Linear(F, w), nn.PReLU(w), nn.Conv1d(w, 2 * w, 3, dilation=2, groups=w), nn.BatchNorm1d(2 * w)),
        *(nn.PReLU(), nn.Conv1d(2 * w, w, 2), nn.LeakyReLU(0.1), nn.Linear(w, K)),
    ],
    "only one": lambda w: [nn.Linear(F, K)],
}


def members(kind, *behind, widths=(4, 6, 3), seed=0):
    torch.manual_seed(seed)
    chains = []
    for width in widths:
        chain = [*CHAINS[kind](width), *behind]
        for layer in chain:
            if isinstance(layer, nn.BatchNorm1d):
                for values in (layer.running_mean, layer.weight.data, layer.bias.data):
                    values.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)
            if isinstance(layer, nn.PReLU):
                layer.weight.data.uniform_(0, 1)
        chains.append([layer.eval() for layer in chain])
    return chains


def frames(seed=1):
    return torch.randn(B, T, F, generator=torch.Generator().manual_seed(seed))


def mean_of(chains, x):
    return torch.stack([run(chain, x) for chain in chains]).mean(dim=0)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", CHAINS)
@torch.no_grad()
def test_one_chain_computes_the_mean_of_linear_ends(kind, count):
    chains, x = members(kind)[:count], frames()
    for of in ("logits", "outputs"):
        assert (run(block_diagonal(chains, of), x) - mean_of(chains, x)).abs().max() < 1e-6


@pytest.mark.parametrize("last", [nn.Softmax(dim=-1), nn.Sigmoid(), nn.Tanh()])
@pytest.mark.parametrize("kind", ["dense", "lstm", "recurrent last"])
@torch.no_grad()
def test_before_an_activation_it_is_the_mean_of_the_logits(kind, last):
    chains, x = members(kind), frames()
    whole = [[*chain, last] for chain in chains]
    assert (run(block_diagonal(whole, "logits"), x) - last(mean_of(chains, x))).abs().max() < 1e-6


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Tanh()])
@pytest.mark.parametrize("kind", ["dense", "tcn", "recurrent last", "only one"])
@torch.no_grad()
def test_behind_an_activation_of_each_column_the_mean_of_the_outputs_is_exact_too(kind, last):
    chains, x = [[*chain, last] for chain in members(kind)], frames()
    assert (run(block_diagonal(chains, "outputs"), x) - mean_of(chains, x)).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["dense", "lstm", "gru first"])
@torch.no_grad()
def test_members_that_normalise_differently_take_raw_frames(kind):
    chains, x = members(kind), frames()
    source = torch.Generator().manual_seed(2)
    norms = [(torch.randn(F, generator=source), torch.rand(F, generator=source) + 0.5) for _ in chains]
    wanted = torch.stack([run(c, (x - m) / s) for c, (m, s) in zip(chains, norms, strict=True)]).mean(dim=0)
    assert (run(block_diagonal(chains, normalisers=norms), x) - wanted).abs().max() < 2e-6


@torch.no_grad()
def test_the_members_stay_as_they_were():
    chains = members("tcn")
    before = copy.deepcopy(chains)
    for layer in block_diagonal(chains):
        for parameter in layer.parameters():
            parameter.zero_()
    for one, other in zip(chain(*chains), chain(*before), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("last", [nn.Softmax(dim=-1), nn.Sigmoid(), nn.Tanh(), nn.Identity()])
def test_logits_of_a_mean(last):
    logits = 3 * torch.randn(4, 6, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = last(mean_logits(logits, last, "outputs"))
    assert torch.allclose(outputs, last(logits).mean(dim=0), atol=1e-12)
    assert torch.allclose(mean_logits(logits, last, "logits"), logits.mean(dim=0))


def test_sure_members_leave_no_infinity():
    sure = torch.tensor([[200.0, -200.0], [200.0, -200.0]])
    for last in (nn.Sigmoid(), nn.Softmax(dim=-1), nn.Tanh()):
        assert torch.isfinite(mean_logits(sure, last, "outputs")).all()


@pytest.mark.parametrize(
    ("chains", "of", "words"),
    [
        (lambda: [members("dense")[0]], "logits", "at least 2"),
        (lambda: [members("dense")[0], members("lstm")[0]], "logits", "Member 1 is"),
        (lambda: members("dense", nn.Softmax(dim=-1)), "outputs", "Softmax"),
        (lambda: [[nn.Linear(F, 2), nn.LayerNorm(2), nn.Linear(2, K)]] * 2, "logits", "LayerNorm"),
        (lambda: [[nn.Linear(F, 2), nn.Softmax(dim=-1), nn.Linear(2, K)]] * 2, "logits", "mixes the columns"),
        (lambda: [[nn.Linear(F, K)], [nn.Linear(F, K + 1)]], "logits", "columns come out"),
        (lambda: [[nn.Linear(F, K)], [nn.Linear(F + 1, K)]], "logits", "columns come in"),
        (lambda: [[nn.Linear(F, 2), nn.ELU(a), nn.Linear(2, K)] for a in (1.0, 0.5)], "logits", "same layers"),
        (lambda: [[nn.LSTM(F, K, bidirectional=True, batch_first=True)]] * 2, "logits", "two directions"),
        (lambda: [[nn.Tanh(), nn.Linear(F, K)]] * 2, "logits", "does not begin"),
        (lambda: [[nn.Tanh()]] * 2, "logits", "does not begin"),
    ],
)
def test_what_no_chain_computes_is_refused(chains, of, words):
    with pytest.raises(EnsembleError, match=words):
        block_diagonal(chains(), of)


def test_a_convolution_cannot_take_up_another_mean():
    chains = [[nn.Conv1d(F, K, 2)] for _ in range(2)]
    norm = (torch.ones(F), torch.ones(F))
    with pytest.raises(EnsembleError, match="Conv1d"):
        block_diagonal(chains, normalisers=[norm, norm])
