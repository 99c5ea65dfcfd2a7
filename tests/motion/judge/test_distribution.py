import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from lit_models.motion.judge.distribution import (
    Diversity,
    FrechetDistance,
    MultiModality,
    TextRetrieval,
    frechet_distance,
)
from litmotif.seeding import generator

from ..bodies import normal

torch.set_num_threads(1)


def fid(real, made):
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(made, real=False)
    return metric.compute()["fid"]


def correlated(count, size=6, seed=0):
    return normal(count, size, seed=seed) @ normal(size, size, seed=9) + normal(size, seed=seed + 5)


@pytest.mark.parametrize("count", [200, 4])
def test_a_set_has_no_distance_to_itself(count):
    """Also one smaller than its dimension, whose covariance is singular."""
    features = correlated(count)
    assert fid(features, features) == pytest.approx(0, abs=1e-6)
    assert fid(features, features + 1) == pytest.approx(6, abs=1e-6)
    assert fid(features, correlated(count, seed=1)) > 0.1


@pytest.mark.parametrize("count", [200, 4])
def test_fid_equals_the_matrix_square_root(count):
    real, made = correlated(count).numpy(), correlated(count + 1, seed=1).numpy()
    first, second = np.cov(real.T), np.cov(made.T)
    root = sqrtm(first @ second).real
    by_hand = np.square(real.mean(0) - made.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert fid(torch.from_numpy(real), torch.from_numpy(made)) == pytest.approx(by_hand, rel=1e-5)
    assert fid(torch.from_numpy(made), torch.from_numpy(real)) == pytest.approx(by_hand, rel=1e-5)


def test_closed_form_of_gaussians():
    """Commuting covariances: the sum of squared differences of means and of standard deviations."""
    turn = torch.linalg.qr(normal(5, 5)).Q
    first, second = torch.tensor([1.0, 2, 3, 4, 5]).double(), torch.tensor([2.0, 2, 0, 1, 9]).double()
    mean = normal(5, seed=3)
    covariances = [turn @ torch.diag(std.square()) @ turn.T for std in (first, second)]
    found = frechet_distance(mean, covariances[0], 0 * mean, covariances[1])
    torch.testing.assert_close(found, mean.square().sum() + (first - second).square().sum())


def test_fid_of_samples_nears_that_of_their_laws():
    made = 2 * normal(20000, 4, seed=1) + 1
    assert fid(normal(20000, 4), made) == pytest.approx(8, rel=0.05)


def test_diversity_is_the_mean_over_all_pairs(monkeypatch):
    features = normal(40, 3)
    by_hand = np.mean([math.dist(features[i], features[j]) for i, j in combinations(range(40), 2)])
    metric = Diversity()
    metric.update(features[:13])
    metric.update(features[13:])
    assert metric.compute()["diversity"] == pytest.approx(by_hand)
    monkeypatch.setattr("lit_models.motion.judge.distribution.ROWS", 7)
    again = Diversity()
    again.update(features)
    assert again.compute()["diversity"] == pytest.approx(by_hand)


def test_multimodality_compares_motions_of_one_text():
    features = normal(4, 5, 3)
    pairs = [math.dist(features[g, b], features[h, b]) for b in range(5) for g, h in combinations(range(4), 2)]
    metric = MultiModality()
    metric.update(features)
    assert metric.compute()["multimodality"] == pytest.approx(np.mean(pairs))
    same = MultiModality()
    same.update(features[:1].expand(4, 5, 3))
    assert same.compute()["multimodality"] == 0


def retrieval(motions, texts, **options):
    metric = TextRetrieval(**options)
    metric.update(motions, texts, torch.arange(len(motions)))
    return metric.compute()


def test_perfect_and_random_embeddings():
    texts = normal(320, 8)
    perfect = retrieval(texts, texts)
    assert perfect == {"r_precision_1": 1.0, "r_precision_2": 1.0, "r_precision_3": 1.0, "matching_score": 0.0}
    chance = retrieval(normal(6400, 8, seed=1), normal(6400, 8, seed=2))
    for k in (1, 2, 3):
        assert chance[f"r_precision_{k}"] == pytest.approx(k / 32, abs=4 * math.sqrt(k / 32 / 6400))


def test_retrieval_equals_loops():
    texts, items = normal(70, 4), torch.randperm(70, generator=torch.Generator().manual_seed(3))
    motions = texts + 0.8 * normal(70, 4, seed=1)
    metric = TextRetrieval(seed=5)
    metric.update(motions, texts, items)
    by_item = items.argsort()
    order = by_item[torch.randperm(70, generator=generator(5))].tolist()
    hits = dict.fromkeys((1, 2, 3), 0)
    for group in (order[:32], order[32:64]):
        for i in group:
            nearer = sum(math.dist(motions[i], texts[j]) < math.dist(motions[i], texts[i]) for j in group)
            for k in hits:
                hits[k] += nearer < k
    found = metric.compute()
    assert 0 < hits[1] < hits[3] < 64
    assert [found[f"r_precision_{k}"] for k in hits] == [hits[k] / 64 for k in hits]
    score = np.mean([math.dist(a, b) for a, b in zip(motions, texts, strict=True)])
    assert found["matching_score"] == pytest.approx(score)


def test_a_text_is_no_wrong_answer_to_itself():
    texts = normal(4, 8).repeat_interleave(8, dim=0)  # 4 texts, 8 motions each
    motions = texts + 1e-3 * normal(32, 8, seed=1)
    assert retrieval(motions, texts)["r_precision_1"] == 1
    assert retrieval(motions, texts + 1e-9 * normal(32, 8, seed=2))["r_precision_1"] == 1
    assert retrieval(motions, texts.roll(8, 0))["r_precision_1"] == 0


def test_fewer_motions_than_a_group_are_one_group():
    texts = normal(5, 8)
    assert retrieval(texts, texts)["r_precision_1"] == 1
    assert retrieval(texts[[1, 2, 3, 4, 0]], texts)["r_precision_1"] == 0


CASES = {
    "fid": (lambda: FrechetDistance(4), lambda m, rows: [m.update(x[rows], real) for x, real in FEATURES]),
    "diversity": (Diversity, lambda m, rows: m.update(normal(70, 4)[rows])),
    "multimodality": (MultiModality, lambda m, rows: m.update(normal(3, 70, 4)[:, rows])),
    "retrieval": (
        TextRetrieval,
        lambda m, rows: m.update(FEATURES[0][0][rows], FEATURES[1][0][rows], torch.arange(70)[rows]),
    ),
}
FEATURES = ((normal(70, 4), True), (normal(70, 4) + 0.5 * normal(70, 4, seed=1), False))


@pytest.mark.parametrize("name", CASES)
def test_two_merged_metrics_are_one(name):
    make, update = CASES[name]
    whole, first, second = make(), make(), make()
    update(whole, slice(None))
    update(first, slice(1, None, 2))  # as two processes divide a batch
    update(second, slice(0, None, 2))
    first.merge_state(second)
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-9)
    assert whole.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize("name", CASES)
def test_nothing_seen_nothing_told(name):
    assert CASES[name][0]().compute() == {}
