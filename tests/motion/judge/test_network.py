import math

import pytest
import torch

from lit_models.motion.judge.distribution import FrechetDistance, TextRetrieval
from lit_models.motion.judge.network import MotionAutoencoder, Network, TextMotionEvaluator

from ..bodies import SIZES, lengths, motion, normal

torch.set_num_threads(1)

SIZE, TEXT = SIZES["positions"], 6
VALID = lengths(24, 17, 9)


@pytest.fixture
def clips():
    return motion("positions").float()


def autoencoder(seed=0):
    torch.manual_seed(seed)
    return MotionAutoencoder(SIZE, Network(16, 12))


def evaluator(seed=0):
    torch.manual_seed(seed)
    return TextMotionEvaluator(SIZE, TEXT, Network(16, 12))


@pytest.mark.parametrize("make", [autoencoder, evaluator])
def test_padding_never_matters(make, clips):
    network = make()
    whole = network.features(clips, VALID)
    assert whole.shape == (3, 12)
    filled = torch.where(VALID[..., None], clips, torch.nan)
    torch.testing.assert_close(network.features(filled, VALID), whole)
    for row, frames in enumerate((24, 17, 9)):
        alone = network.features(clips[row : row + 1, :frames], VALID[row : row + 1, :frames])
        torch.testing.assert_close(alone[0], whole[row], atol=1e-5, rtol=1e-5)
    clips[1, 16] += 1.0  # the last frame that exists does matter
    changed = (network.features(clips, VALID) - whole).abs().amax(dim=1)
    assert (changed > 1e-4).tolist() == [False, True, False]


def test_decoded_padding_never_matters_either(clips):
    network = autoencoder()
    vectors = network.features(clips, VALID)
    whole = network.decode(vectors, VALID)
    assert (whole[~VALID] == 0).all()
    for row, frames in enumerate((24, 17, 9)):
        alone = network.decode(vectors[row : row + 1], VALID[row : row + 1, :frames])
        torch.testing.assert_close(alone[0], whole[row, :frames], atol=1e-5, rtol=1e-5)
    filled = torch.where(VALID[..., None], clips, torch.nan)
    torch.testing.assert_close(network.loss(filled, VALID), network.loss(clips, VALID))


@pytest.mark.parametrize("make", [autoencoder, evaluator])
def test_statistics_are_used_and_kept(make, clips):
    network, again = make(), make(seed=1)
    network.normalizer.fit([0.5] * SIZE, [2.0] * SIZE)
    plain = make()
    torch.testing.assert_close(network.features(clips, VALID), plain.features((clips - 0.5) / 2, VALID))
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.features(clips, VALID), network.features(clips, VALID))
    with pytest.raises(ValueError, match=r"mean has shape \(2,\)"):
        network.normalizer.fit([0.0] * 2, [1.0] * SIZE)
    with pytest.raises(ValueError, match="std is zero in 0, 1"):
        network.normalizer.fit([0.0] * SIZE, [0.0] * SIZE)


def train(network, steps, *batch, lr=3e-3):
    optimizer = torch.optim.Adam(network.parameters(), lr)
    losses = []
    for _ in range(steps):
        loss = network.loss(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_the_autoencoder_learns_and_tells_motion_from_noise(clips):
    network = autoencoder()
    losses = train(network, 150, clips, VALID)
    assert losses[-1] < 0.3 * losses[0]
    metric = FrechetDistance(12)
    near, noise = clips + 0.01 * normal(*clips.shape).float(), clips + normal(*clips.shape).float()
    distances = []
    for made in (near, noise):
        metric.reset()
        with torch.no_grad():
            metric.update(network.features(clips, VALID), real=True)
            metric.update(network.features(made, VALID), real=False)
        distances.append(metric.compute()["fid"])
    assert distances[0] < 0.05 * distances[1]


def test_the_loss_of_the_autoencoder_is_the_error_of_what_exists(clips):
    network = autoencoder()
    x = network.normalizer(clips, VALID)
    error = (network.decode(network.features(clips, VALID), VALID) - x).detach()
    squares = sum(error[b, :t].square().sum() for b, t in enumerate((24, 17, 9))) / (24 + 17 + 9)
    moved = sum(error[b, :t].diff(dim=0).square().sum() for b, t in enumerate((24, 17, 9))) / (23 + 16 + 8)
    torch.testing.assert_close(network.loss(clips, VALID).detach(), (squares + moved) / SIZE)


def test_the_evaluator_learns_which_text_says_what():
    network = evaluator()
    kinds = torch.arange(32) % 4
    clips = 0.3 * normal(32, 24, SIZE).float() + torch.eye(SIZE)[kinds][:, None]
    texts, valid = torch.eye(TEXT)[kinds], torch.ones(32, 24, dtype=torch.bool)
    losses = train(network, 60, clips, valid, texts)
    assert losses[0] > 3.2
    assert losses[-1] < math.log(8) + 0.2  # 8 motions share each text: log 8 is perfect
    metric = TextRetrieval()
    with torch.no_grad():
        metric.update(network.features(clips, valid), network.embed_text(texts), torch.arange(32))
    assert metric.compute()["r_precision_1"] == 1


def test_info_nce_by_hand(clips):
    network, texts = evaluator(), normal(3, TEXT).float()
    texts[2] = texts[0]
    motions, said = network.features(clips, VALID).detach(), network.embed_text(texts).detach()
    torch.testing.assert_close(motions.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(said.norm(dim=-1), torch.ones(3))
    total = 0.0
    for a, b in ((motions, said), (said, motions)):
        for i, same in enumerate(([0, 2], [1], [0, 2])):
            scores = [float(a[i] @ b[j]) / 0.1 for j in range(3)]
            log_sum = math.log(sum(math.exp(score) for score in scores))
            total -= sum(scores[j] - log_sum for j in same) / len(same) / 6
    assert float(network.loss(clips, VALID, texts).detach()) == pytest.approx(total, rel=1e-4)


def test_a_temperature_is_positive():
    with pytest.raises(ValueError, match="temperature=0"):
        Network(temperature=0)
