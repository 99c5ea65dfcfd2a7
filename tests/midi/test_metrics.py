"""Every metric against a closed form or another library, with masks, in parts."""

import pytest
import torch
import torchmetrics.classification as tc
import torchmetrics.functional as tf
from scipy import stats

from lit_models.midi import baselines, losses
from lit_models.midi.classes import Classes, roots
from lit_models.midi.metrics import KeyDetection, Likelihood, Regression
from lit_models.midi.timing import BINS, Timing


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coins(*shape, share=0.5, seed=7):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


def measured(metric, *parts):
    metric.update(*parts)
    return metric.compute()


def numbers():
    target = draw(3, 20, 4)
    return target + draw(3, 20, 4, seed=1), target, torch.ones(3, 20, 4, dtype=torch.bool)


def test_regression_is_that_of_torchmetrics_and_scipy():
    prediction, target, mask = numbers()
    found = measured(Regression(4, ["a", "b", "c", "d"]), prediction, target, mask)
    p, t = prediction.flatten(0, 1), target.flatten(0, 1)
    expected = {
        "mse": tf.mean_squared_error(p, t),
        "mae": tf.mean_absolute_error(p, t),
        "rmse": tf.mean_squared_error(p, t, squared=False),
        "cosine": tf.cosine_similarity(p, t, reduction="mean"),
        "correlation": tf.pearson_corrcoef(p, t).mean(),
        "r": tf.pearson_corrcoef(p.flatten(), t.flatten()),
        "r2": tf.r2_score(p, t),
        "r2_b": tf.r2_score(p[:, 1], t[:, 1]),
        "rmse_c": tf.mean_squared_error(p[:, 2], t[:, 2], squared=False),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert float(found["r"]) == pytest.approx(stats.pearsonr(p.flatten(), t.flatten()).statistic)


def test_concordance_is_lins():
    p, t = draw(50), draw(50, seed=1) + 0.3
    sums = losses.moments(p[:, None], t[:, None], torch.ones(50, 1, dtype=torch.bool))
    cov = torch.cov(torch.stack([p, t]), correction=0)
    lin = 2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + (p.mean() - t.mean()) ** 2)
    assert float(losses.concordance(sums)[0]) == pytest.approx(float(lin), rel=1e-5)
    same = losses.moments(t[:, None], t[:, None], torch.ones(50, 1, dtype=torch.bool))
    assert float(losses.concordance(same)[0]) == pytest.approx(1.0)


def test_a_constant_has_no_correlation():
    _, target, mask = numbers()
    found = measured(Regression(4), torch.full_like(target, 0.1), target, mask)
    assert torch.isnan(found["correlation"])
    assert found["ccc"] == pytest.approx(0, abs=1e-6)


def keys(seed=0):
    probability = torch.sigmoid(draw(4, 30, 12, seed=seed))
    return probability, coins(4, 30, 12, share=0.3).float(), torch.ones(4, 30, 12, dtype=torch.bool)


def test_keys_at_a_threshold_are_those_of_torchmetrics():
    probability, target, mask = keys()
    for threshold in (0.29, 0.5, 0.73):
        found = measured(KeyDetection(3, threshold), probability, target, mask)
        flat, truth = probability.flatten(), target.flatten().long()
        for name, metric in (("precision", tc.BinaryPrecision), ("recall", tc.BinaryRecall), ("f1", tc.BinaryF1Score)):
            torch.testing.assert_close(found[name], measured(metric(threshold), flat, truth))
        jaccard = measured(tc.BinaryJaccardIndex(threshold), flat, truth)
        torch.testing.assert_close(found["frame_accuracy"], jaccard)


def test_the_tuned_threshold_is_the_best_of_all():
    probability, target, mask = keys()
    tuned = measured(KeyDetection(), probability, target, mask)
    curve = tc.BinaryPrecisionRecallCurve(thresholds=torch.arange(100) / 100)
    precision, recall, _ = measured(curve, probability.flatten(), target.flatten().long())
    f1 = 2 * precision * recall / (precision + recall)
    torch.testing.assert_close(tuned["f1"], f1[:-1].nan_to_num().max())
    assert float(tuned["threshold"]) == pytest.approx(int(f1[:-1].nan_to_num().argmax()) / 100)


def test_keys_by_rank():
    probability = torch.tensor([[[0.9, 0.8, 0.7, 0.1], [0.2, 0.4, 0.3, 0.1], [0.5, 0.5, 0.5, 0.5]]])
    target = torch.tensor([[[1.0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]])
    found = measured(KeyDetection(top_k=3), probability, target, torch.ones(1, 3, 4, dtype=torch.bool))
    assert found["top3_accuracy"] == 1.0
    assert found["note_accuracy"] == pytest.approx(1 / 3)  # one of two, none of one


def test_likelihood_is_torchs():
    logits, target = draw(2, 9, 6), coins(2, 9, 6).float()
    mask = torch.ones(2, 9, 6, dtype=torch.bool)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    found = measured(Likelihood(keys=True), logits, target, mask)
    torch.testing.assert_close(found["nll"], bce(logits, target) * 6)
    torch.testing.assert_close(found["bce"], bce(logits, target))
    index = draw(2, 9, 6, seed=3).argmax(-1)
    one_hot = torch.nn.functional.one_hot(index, 6).float()
    found = measured(Likelihood(keys=False), logits, one_hot, mask)
    torch.testing.assert_close(found["nll"], torch.nn.functional.cross_entropy(logits.flatten(0, 1), index.flatten()))


def classes(seed=0):
    index = draw(3, 40, 7, seed=seed).argmax(-1)
    index[index == 4] = 2  # a class that never occurs
    return draw(3, 40, 7, seed=seed + 1), torch.nn.functional.one_hot(index, 7).float(), index


def test_classes_are_those_of_torchmetrics():
    score, target, index = classes()
    found = measured(Classes(7), score, target, torch.ones_like(target, dtype=torch.bool))
    flat, truth = score.flatten(0, 1), index.flatten()
    for name, metric in (
        ("accuracy", tc.MulticlassAccuracy(7, average="micro")),
        ("top3_accuracy", tc.MulticlassAccuracy(7, top_k=3, average="micro")),
        ("precision", tc.MulticlassPrecision(7, average="macro")),
        ("recall", tc.MulticlassRecall(7, average="macro")),
        ("f1", tc.MulticlassF1Score(7, average="macro")),
    ):
        torch.testing.assert_close(found[name], measured(metric, flat, truth), msg=name)
    change = index[:, 1:] != index[:, :-1]
    right = (score.argmax(-1) == index)[:, 1:]
    torch.testing.assert_close(found["change_accuracy"], right[change].float().mean())


def test_roots_by_name():
    names = ["class0:C:maj", "class1:Db:maj", "class12:C:min", "class24:N", "class25:C:7", "reserved:0", "reserved:1"]
    assert roots(names) == [0, 1, 0, 3, 0, 5, 6]
    score = torch.eye(7)[[0, 2, 4, 1, 3]][None]
    target = torch.eye(7)[[2, 0, 1, 1, 5]][None]
    found = measured(Classes(7, roots(names)), score, target, torch.ones(1, 5, 7, dtype=torch.bool))
    assert found["root_accuracy"] == pytest.approx(3 / 5)
    assert found["accuracy"] == pytest.approx(1 / 5)


def test_timing_in_milliseconds_and_sixteenths():
    target = torch.zeros(1, 2, 18)
    prediction = torch.zeros(1, 2, 18)
    prediction[0, 0, 0], prediction[0, 1, 3] = 0.5, -1.0  # a quarter of a sixteenth late, half of one early
    mask = torch.zeros(1, 2, 18, dtype=torch.bool)
    mask[0, 0, [0, 9]] = mask[0, 1, [3, 12]] = True
    found = measured(Timing(), prediction, target, mask, torch.tensor([[100.0, 200.0]]))
    assert found["timing_mae_ms"] == pytest.approx((25 + 100) / 2)
    assert found["timing_mse"] == pytest.approx((0.25**2 + 0.5**2) / 2)
    assert found["velocity_kl"] == pytest.approx(0, abs=1e-7)
    share = torch.ones(2, BINS, dtype=torch.float64)
    share[0, BINS // 2] += 2
    share[1, [0, BINS * 3 // 4]] += 1
    assert found["offset_kl"] == pytest.approx(float(stats.entropy(share[0], share[1])))


def cases():
    probability, target, mask = keys()
    known = coins(4, 30, 12, share=0.7)
    frames = mask & coins(4, 30, 1, share=0.7)
    prediction, wanted, _ = numbers()
    hits = coins(3, 20, 2)
    score, one_hot, _ = classes()
    whole = torch.ones_like(one_hot, dtype=torch.bool) & coins(3, 40, 1, share=0.8, seed=3)
    ms = draw(3, 20).abs() + 50
    return {
        "regression": (lambda: Regression(4), (prediction, wanted, coins(3, 20, 4))),
        "keys": (KeyDetection, (probability, target, known)),
        "keys_nll": (lambda: Likelihood(keys=True), (probability.logit(), target, frames)),
        "class_nll": (lambda: Likelihood(keys=False), (score, one_hot, whole)),
        "classes": (lambda: Classes(7, [0, 1, 0, 1, 4, 5, 6]), (score, one_hot, whole)),
        "timing": (Timing, (prediction.clamp(-1, 1), wanted.clamp(-1, 1), torch.cat([hits, hits], dim=2), ms)),
    }


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_what_the_mask_leaves_out_does_not_count(name):
    make, (prediction, target, mask, *rest) = CASES[name]
    expected = measured(make(), prediction, target, mask, *rest)
    spoilt = torch.where(mask, target, 1.0)
    guess = torch.where(mask, prediction, 0.987) if name in ("regression", "keys", "timing") else prediction
    found = measured(make(), guess, spoilt, mask, *rest)
    unmasked = measured(make(), prediction, spoilt, torch.ones_like(mask), *rest)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, equal_nan=True)
    assert any(not torch.isclose(unmasked[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", CASES)
def test_two_processes_add_up_to_one(name):
    make, parts = CASES[name]
    whole, halves = make(), [make(), make()]
    whole.update(*parts)
    for half, rows in zip(halves, (slice(0, 1), slice(1, None)), strict=True):
        half.update(*(part[rows] for part in parts))
    merged = make()
    for state, reduction in merged._reductions.items():
        setattr(merged, state, reduction(torch.stack([getattr(half, state) for half in halves])))
    merged._update_count = 1
    for key, value in whole.compute().items():
        torch.testing.assert_close(merged.compute()[key], value, rtol=1e-6, atol=1e-9, equal_nan=True)


# ---------------------------------------------------------------------- baselines
def test_copy_takes_the_last_known_target():
    targets = torch.tensor([[[1.0], [2], [3], [4]]])
    mask = torch.tensor([[[True], [False], [True], [True]]])
    found = baselines.copy(targets, mask, torch.tensor([9.0]))
    assert found.flatten().tolist() == [9, 1, 1, 3]


def test_shuffled_targets_are_the_same_in_another_order_whatever_the_batch():
    targets, mask = draw(3, 50, 5), coins(3, 50, 5, share=0.6)
    mask[..., 2] = mask[..., 1]
    mask[1, 30:] = False
    song = torch.tensor([4, 7, 9])
    found = baselines.shuffled(targets, mask, song)
    for row in range(3):
        for column in range(5):
            one, other = (x[row, :, column][mask[row, :, column]] for x in (found, targets))
            assert torch.equal(one.sort().values, other.sort().values)
            assert not torch.equal(one, other)
    alone = baselines.shuffled(targets[1:2, :40], mask[1:2, :40], song[1:2])
    assert torch.equal(alone[mask[1:2, :40]], found[1:2][mask[1:2]])
    pairs = {tuple(pair) for pair in targets[0, mask[0, :, 1], 1:3].tolist()}
    assert {tuple(pair) for pair in found[0, mask[0, :, 1], 1:3].tolist()} == pairs


def test_valid_frames_end_with_the_last_known_target():
    mask = torch.zeros(2, 5, 3, dtype=torch.bool)
    mask[0, 2, 1] = mask[1, 4, 0] = True
    assert baselines.valid_frames(mask).sum(dim=1).tolist() == [3, 5]
