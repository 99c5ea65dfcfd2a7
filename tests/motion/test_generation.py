import pytest
import torch

from lit_models.diffusion.diffusers_sampler import DiffusersSampler
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver
from lit_models.diffusion.schedules import make_diffusion
from lit_models.motion.generation import Condition, Generation, given_columns, given_frames, motion_noise
from lit_models.motion.network import MotionTransformer, Network
from lit_models.motion.text import HashedTextEncoder

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers, NumPy 2
F, K, LIMIT = 4, 12, 10
DIFFUSION = make_diffusion(K)
SAMPLERS = {"ddpm": DDPM(), "ddim": DDIM(), "dpm": DPMSolver(), "diffusers": DiffusersSampler()}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sources(count, first=0):
    return [torch.Generator().manual_seed(first + row) for row in range(count)]


def take(name):
    if name == "diffusers":
        pytest.importorskip("diffusers")
    return SAMPLERS[name]


def make(**changes):
    torch.manual_seed(0)
    network = MotionTransformer(F, K, LIMIT, Network(16, 1, 2), 3, 2).eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return Generation(network, DIFFUSION, F, LIMIT, **{"steps": 4} | changes)


def condition(rows, frames):
    return Condition(normal(rows, 3, seed=1), normal(rows, frames, 2, seed=2))


def watch(made):
    """What the network is shown: (x, levels, valid) of each call."""
    calls = []

    def network(x, levels, valid, *others):
        calls.append((x, levels, valid))
        return made.network(x, levels, valid, *others)

    return Generation(
        network, made.diffusion, made.features, made.max_frames, made.sampler, made.steps, made.guidance_scale,
        made.inpainting, made.resamples,
    ), calls  # fmt: skip


# What is given


@pytest.mark.parametrize("inpainting", ["clean", "replace", "repaint"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_given_comes_back_bit_for_bit_and_decides_the_rest(name, inpainting):
    sampler = take(name)
    whole = normal(2, 9, F, seed=5)
    columns = torch.tensor([True, False, True, False])
    cases = {
        "beginning": given_frames(whole[:, :3], range(3), 9),
        "keyframes": given_frames(whole[:, [0, 4, 8]], [0, 4, 8], 9),
        "columns": given_columns(whole, columns),
        "both": given_columns(whole, columns) | given_frames(whole[:, -2:], [7, 8], 9),
    }
    for case, given in cases.items():
        made = make(sampler=sampler, inpainting=inpainting)
        levelled = inpainting == "clean" and case != "columns"
        if isinstance(sampler, DiffusersSampler) and (levelled or inpainting == "repaint"):
            with pytest.raises(ValueError, match="one noise level for all tokens"):
                made.generate([9, 9], sources(2), condition(2, 9), given)
            continue
        motion = made.generate([9, 9], sources(2), condition(2, 9), given)
        assert torch.equal(motion[given.known], whole[given.known])
        assert motion.isfinite().all()
        other = given._replace(values=given.values + 1)
        changed = (made.generate([9, 9], sources(2), condition(2, 9), other) - motion).abs()
        assert (changed[~given.known] > 0).float().mean() > 0.9
        anything = given._replace(values=given.values.masked_fill(~given.known, 7.0))
        assert torch.equal(made.generate([9, 9], sources(2), condition(2, 9), anything), motion)


def test_a_clean_beginning_stands_at_level_0_and_a_replaced_one_does_not():
    given = given_frames(normal(1, 3, F), range(3), 8)
    for inpainting in ("clean", "replace"):
        watched, calls = watch(make(inpainting=inpainting))
        watched.generate([8], sources(1), given=given)
        for x, levels, _ in calls:
            assert (levels[0, 3:] > 0).all()
            assert (levels[0, :3] == 0).all() == (inpainting == "clean")
            assert torch.equal(x[:, :3], given.values[:, :3]) == (inpainting == "clean")


def test_going_back_and_forth_brings_what_is_made_to_terms_with_what_is_given():
    """Two columns of correlation 0.9, one given as 1: the other shall be 0.9 on average."""
    covariance, frames = torch.tensor([[1.0, 0.9], [0.9, 1.0]]), 4000  # the frames are draws, for nothing joins them

    def exact(x, levels, *others):
        kept = DIFFUSION.alpha_bar[levels[0, 0]].float()
        return x @ (kept.sqrt() * torch.linalg.inv(kept * covariance + (1 - kept) * torch.eye(2)) @ covariance)

    given, off = given_columns(torch.ones(1, frames, 2), torch.tensor([True, False])), []
    for resamples in (1, 4, 16):
        made = Generation(exact, DIFFUSION, 2, frames, DDPM(), None, 1.0, "repaint", resamples)
        motion = made.generate([frames], sources(1), given=given)
        off.append((motion[..., 1].mean() - 0.9).abs())
    assert off[1] < 0.6 * off[0]
    assert off[2] < 0.6 * off[1]


# Longer than the model sees


@pytest.mark.parametrize("inpainting", ["clean", "replace", "repaint"])
def test_windows_join_without_a_gap(inpainting):
    frames, overlap = 24, 3
    watched, calls = watch(make(inpainting=inpainting, sampler=DDPM()))
    motion = watched.generate([frames], sources(1), condition(1, frames), overlap=overlap)
    assert motion.shape == (1, frames, F)
    assert motion.isfinite().all()
    assert (motion.abs().amax(dim=2) > 0).all()  # each frame was made
    sizes = [x.shape[1] for x, *_ in calls][:: watched.steps]
    assert sizes == [10, 10, 10]  # 0-9, 7-16, 14-23
    if inpainting == "clean":
        for window, start in enumerate((0, 7, 14)):
            for x, levels, _ in calls[window * watched.steps : (window + 1) * watched.steps]:
                assert (levels[0, :overlap] == 0).all() == (start > 0)
                if start:
                    assert torch.equal(x[:, :overlap], motion[:, start : start + overlap])


def test_long_motion_reads_its_own_stretch_of_audio_and_of_what_is_given():
    made, heard, frames = make(), condition(1, 24), 24
    given = given_frames(normal(1, 2, F, seed=6), [12, 20], frames)
    motion = made.generate([frames], sources(1), heard, given, overlap=3)
    assert torch.equal(motion[given.known], given.values[given.known])
    louder = heard.audio.clone()
    louder[:, 17:] += 1  # seen by the last window alone
    other = made.generate([frames], sources(1), heard._replace(audio=louder), given, overlap=3)
    assert torch.equal(other[:, :17], motion[:, :17])
    assert (other[:, 17:] != motion[:, 17:]).any(dim=2)[0, [0, 1, 2, 4, 5, 6]].all()


def test_windows_are_for_long_motion_alone():
    made = make()
    plain = made.generate([LIMIT], sources(1), condition(1, LIMIT))
    assert torch.equal(made.generate([LIMIT], sources(1), condition(1, LIMIT), overlap=3), plain)
    with pytest.raises(ValueError, match=r"num_frames=11.*max_frames=10.*overlap"):
        made.generate([11], sources(1))


# Rows


@pytest.mark.parametrize("overlap", [None, 4])
@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_do_not_know_their_neighbours(name, overlap):
    made = make(sampler=take(name), inpainting="replace" if name == "diffusers" else "clean", guidance_scale=2.0)
    lengths = [9, 3, 6] if overlap is None else [25, 3, 16]
    told, longest = condition(3, max(lengths)), max(lengths)
    together = made.generate(lengths, sources(3), told, overlap=overlap)
    for row, length in enumerate(lengths):
        alone = Condition(told.text[row : row + 1], told.audio[row : row + 1, :length])
        single = made.generate([length], sources(1, first=row), alone, overlap=overlap)
        torch.testing.assert_close(together[row, :length], single[0], rtol=1e-4, atol=1e-5)
        assert (together[row, length:] == 0).all()
    assert together.shape[1] == longest


def test_noise_of_a_row_is_its_generators_for_its_own_frames():
    draw = motion_noise(sources(2), [3, 5])
    noise = draw((2, 5, F), torch.float32)
    for row, length in enumerate((3, 5)):
        assert torch.equal(noise[row, :length], normal(length, F, seed=row))
    assert (noise[0, 3:] == 0).all()
    assert not torch.equal(draw((2, 5, F), torch.float32), noise)


# Guidance


def test_a_scale_of_1_is_the_condition_and_0_is_none():
    told = condition(2, 8)

    def run(scale, condition):
        return make(guidance_scale=scale, sampler=DDPM()).generate([8, 8], sources(2), condition)

    without = run(1.0, None)
    assert torch.equal(run(0.0, told), without)
    doubled = run(3.0, told._replace(drop=torch.ones(2, 2).bool()))  # a batch of 4: other products of matrices
    torch.testing.assert_close(doubled, without, rtol=1e-4, atol=1e-5)
    conditional = run(1.0, told)
    assert (conditional - without).abs().max() > 0.01
    torch.testing.assert_close(run(1 + 1e-6, told), conditional, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(run(1e-6, told), without, rtol=1e-3, atol=1e-4)


def test_guidance_extrapolates_each_prediction_in_one_doubled_batch():
    told, rows = condition(2, 8), []
    made = make(guidance_scale=2.5, steps=1)

    def network(x, *others):
        rows.append(len(x))
        return made.network(x, *others)

    motion = Generation(network, DIFFUSION, F, LIMIT, DDIM(), 1, 2.5).generate([8, 8], sources(2), told)
    x, valid, top = (
        motion_noise(sources(2), [8, 8])((2, 8, F), torch.float32),
        torch.ones(2, 8).bool(),
        torch.full((2, 1), K),
    )
    with torch.no_grad():
        conditional = made.network(x, top, valid, told.text, told.audio)
        without = made.network(x, top, valid)
    torch.testing.assert_close(motion, without + 2.5 * (conditional - without), rtol=1e-4, atol=1e-4)
    assert rows == [4]


# What does not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inpainting": "mixed"}, "inpainting='mixed'.*clean"),
        ({"guidance_scale": -1.0}, "guidance_scale=-1.0"),
        ({"resamples": 0, "inpainting": "repaint"}, "resamples=0"),
        ({"resamples": 3}, "resamples=3.*repaint"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_requests_that_cannot_be():
    made = make()
    with pytest.raises(ValueError, match="num_frames=0"):
        made.generate([0], sources(1))
    with pytest.raises(ValueError, match=r"overlap=10.*9 frames"):
        made.generate([12], sources(1), overlap=10)
    with pytest.raises(ValueError, match="audio of 5 frames for num_frames=8"):
        made.generate([8], sources(1), condition(1, 5))
    with pytest.raises(ValueError, match="2 rows of text for 1 motions"):
        made.generate([8], sources(1), condition(2, 8)._replace(audio=None))
    with pytest.raises(ValueError, match="2 rows of generators for 1 motions"):
        made.generate([8], sources(2))
    with pytest.raises(ValueError, match=r"given entries.*\(1, 8, 4\)"):
        made.generate([8], sources(1), given=given_frames(normal(1, 2, F), [0, 1], 7))
    with pytest.raises(ValueError, match=r"2 given frames at \[3, 8\]"):
        given_frames(normal(1, 2, F), [3, 8], 8)


# Together


def test_text_decides_what_comes_out():
    """Two captions, two motions, a minute of learning in small: each caption gives its own motion."""
    torch.manual_seed(0)
    captions, frames = ["a person waves the left arm", "a person squats twice"], 8
    time = torch.arange(frames)[:, None] / frames * 6.28
    truth = torch.stack([(time * w + torch.arange(F)).sin() for w in (1.0, 2.0)])  # (2, T, F)
    text = HashedTextEncoder(16, buckets=256, num_heads=2)
    network = MotionTransformer(F, K, frames, Network(32, 2, 2), text.size)
    optimizer = torch.optim.Adam([*text.parameters(), *network.parameters()], lr=5e-3)
    valid, source = torch.ones(16, frames).bool(), torch.Generator().manual_seed(1)
    for _ in range(80):
        rows = torch.arange(16) % 2
        levels = DIFFUSION.draw_levels((16, 1), source, low=1)
        noisy = DIFFUSION.add_noise(truth[rows], torch.randn(16, frames, F, generator=source), levels)
        drop = torch.rand(16, 1, generator=source) < 0.1
        loss = (network(noisy, levels, valid, text(captions)[rows], drop=drop) - truth[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        told = Condition(text(["A person squats, twice.", "a person waves the left arm"] * 2))
    made = Generation(network.eval(), DIFFUSION, F, frames, DPMSolver(), 5, 1.5)
    motion = made.generate([frames] * 4, sources(4), told)
    error = (motion[:, None] - truth).square().mean(dim=(2, 3))  # (4, 2)
    own, other = error[range(4), [1, 0, 1, 0]], error[range(4), [0, 1, 0, 1]]
    assert (own < 0.1 * other).all()
