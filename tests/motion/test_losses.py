import math

import pytest
import torch

from lit_models.motion.losses import FAINT, OF_COLUMNS, TERMS, MotionLosses, default_weights
from lit_models.motion.skeleton import MotionLayout

from .bodies import FPS, SIZES, SKELETON, J, layout, lengths, motion, normal

torch.set_num_threads(1)

KINDS = ["positions", "axis_angle", "rot6d", "rot6d_velocity", "humanml3d"]
CASES = [(kind, term) for kind in KINDS for term in TERMS]
IMPOSSIBLE = {(kind, "forward_kinematics") for kind in ("positions", "humanml3d")}
IMPOSSIBLE |= {(kind, "bone_length") for kind in ("axis_angle", "rot6d", "rot6d_velocity")}
CASES = [case for case in CASES if case not in IMPOSSIBLE]
VALID = lengths(24, 17, 24)


def only(*terms, kind="positions", **options):
    return MotionLosses(dict.fromkeys(TERMS, 0.0) | dict.fromkeys(terms, 1.0), layout(kind), **options)


def standing(kind):
    """Motion whose feet stand in the frames 3 to 9."""
    features = motion(kind)
    features[:, 3:10] = features[:, 3:4]
    if kind == "humanml3d":
        features[:, 3:10, :3] = 0
    if kind == "rot6d_velocity":
        features[:, 4:10, -4:-1] = 0
    return features


def noisy(features, scale=0.1):
    return features + scale * normal(*features.shape, seed=7)


@pytest.mark.parametrize(("kind", "term"), CASES)
def test_a_perfect_prediction_costs_nothing_and_a_noisy_one_something(kind, term):
    losses, truth, std = only(term, kind=kind), standing(kind), torch.ones(SIZES[kind])
    assert (losses(truth.float(), truth.float(), VALID, std)[term] == 0).all()
    wrong = losses(noisy(truth), truth, VALID, std)
    assert list(wrong) == [term]
    assert wrong[term].shape == (3,)
    assert (wrong[term] > 1e-4).all()


@pytest.mark.parametrize(("kind", "term"), CASES)
def test_each_term_changes_the_gradient_and_none_leaks_into_padding(kind, term):
    truth, std = standing(kind), torch.ones(SIZES[kind], dtype=torch.float64)
    gradients = []
    for terms in (("reconstruction",), {"reconstruction", term}):
        guess = noisy(truth).requires_grad_()
        losses = only(*terms, kind=kind)
        losses.total(losses(guess, truth, VALID, std)).sum().backward()
        assert guess.grad.isfinite().all()
        assert (guess.grad[~VALID] == 0).all()
        gradients.append(guess.grad)
    assert torch.equal(*gradients) == (term == "reconstruction")


@pytest.mark.parametrize(("kind", "term"), CASES)
def test_padding_never_matters(kind, term):
    truth, std = standing(kind), torch.ones(SIZES[kind])
    guess, losses = noisy(truth), only(term, kind=kind)
    whole = losses(guess, truth, VALID, std, torch.tensor([[0.5]] * 3))[term]
    for row, frames in enumerate((24, 17, 24)):
        cut = (x[row : row + 1, :frames] for x in (guess, truth, VALID))
        torch.testing.assert_close(losses(*cut, std, torch.tensor([[0.5]]))[term][0], whole[row])
    for filling in (1e6, torch.nan):
        filled = [torch.where(VALID[..., None], x, filling).requires_grad_() for x in (guess, truth)]
        found = losses(*filled, VALID, std, torch.tensor([[0.5]] * 3))[term]
        torch.testing.assert_close(found, whole)
        found.sum().backward()
        assert filled[0].grad.isfinite().all()


def test_rigid_motion_has_no_bone_length_loss():
    """Whatever motion is predicted: a loss of bones sees bones alone."""
    losses, std = only("bone_length"), torch.ones(SIZES["positions"])
    found = losses(motion("positions", seed=0).float(), motion("positions", seed=30).float(), VALID, std)
    assert (found["bone_length"] < 1e-6).all()
    stretched = losses(1.1 * motion("positions"), motion("positions"), VALID, std)["bone_length"]
    square = (layout().bone_lengths * 0.1 / losses.unit).square().mean()
    torch.testing.assert_close(stretched, square.expand(3))


def test_closed_forms():
    truth, frames = torch.zeros(1, 24, 3 * J, dtype=torch.float64), torch.arange(24.0, dtype=torch.float64)
    valid, std = lengths(24), torch.full((3 * J,), 2.0)
    losses = only("reconstruction", "velocity", "acceleration", unit=0.5)
    parabola = truth.clone()
    parabola.view(1, 24, J, 3)[..., 1] = 0.1 * frames[:, None].square()
    found = losses(parabola, truth, valid, std)
    assert math.isclose(found["acceleration"], (0.2 / 0.5) ** 2)  # second differences of 0.1 t^2
    steps = 0.1 * (2 * frames[:-1] + 1) / 0.5
    torch.testing.assert_close(found["velocity"][0], steps.square().mean())
    torch.testing.assert_close(found["reconstruction"][0], (0.1 * frames.square() / 2).square().mean() / 3)


def test_the_acceleration_of_columns_is_that_of_their_error_at_every_level_and_leaves_known_frames_alone():
    truth, frames = torch.zeros(1, 24, 3 * J, dtype=torch.float64), torch.arange(24.0, dtype=torch.float64)
    wrong = truth.clone()
    wrong[..., 1] = 0.1 * frames.square() + 5 * frames + 7  # of which the slope and the place cost nothing
    losses, std = only("column_acceleration"), torch.full((3 * J,), 2.0)
    found = losses(wrong, truth, lengths(24), std, alpha_bar=torch.tensor([[1e-6]]))["column_acceleration"]
    assert math.isclose(found, (0.2 / 2) ** 2 / (3 * J))
    weight = (frames != 9).float()[None]  # a known frame has no level
    found = losses(wrong, truth, lengths(24), std, weight=weight)["column_acceleration"]
    assert math.isclose(found, (0.2 / 2) ** 2 / (3 * J) * 19 / 22)  # three differences reach it


def test_contacts_may_jump():
    told = {"kind": "rot6d_velocity", "joints": J, "root": True, "size": SIZES["rot6d_velocity"] + 2, "fps": FPS}
    body = MotionLayout(SKELETON, told | {"contacts": len(SKELETON["feet"])})
    losses = MotionLosses(dict.fromkeys(TERMS, 0.0) | {"column_acceleration": 1.0}, body)
    truth = torch.zeros(1, 24, body.size)
    for columns, costs in ((body.contact_columns, False), (body.root_columns, True)):
        wrong = truth.clone()
        wrong[:, 9, columns] = 1.0
        assert bool(losses(wrong, truth, lengths(24), torch.ones(body.size))["column_acceleration"] > 0) == costs


def test_direction_is_one_minus_cosine_over_bones_that_have_a_length():
    offsets = [*SKELETON["offsets"][:-1], [0.0, 0.0, 0.0]]
    losses = MotionLosses(dict.fromkeys(TERMS, 0.0) | {"bone_direction": 1.0}, layout(offsets=offsets))
    truth = motion("positions").view(3, 24, J, 3)
    truth[..., -1, :] = truth[..., 1, :]
    turned = truth.clone()
    turned[..., 2, :] = 2 * truth[..., 1, :] - truth[..., 2, :]  # the head upside down
    found = losses(turned.flatten(2), truth.flatten(2), VALID, torch.ones(1))["bone_direction"]
    torch.testing.assert_close(found, torch.full((3,), 2.0 / (J - 2), dtype=torch.float64))


def test_feet_cost_only_where_the_truth_stands():
    losses, std = only("foot_contact", contact_speed=0.2), torch.ones(SIZES["positions"])
    truth = torch.zeros(1, 24, J, 3, dtype=torch.float64)
    truth[0, :, [4, 6], 0] = torch.where(torch.arange(24) < 10, 0.0, torch.arange(24.0) - 9)[:, None].double()
    slides = truth.clone()
    slides[0, 12:, 4, 2] += 5.0  # while the truth moves
    assert losses(slides.flatten(2), truth.flatten(2), lengths(24), std)["foot_contact"] == 0
    slides[0, 5:, 4, 2] += 0.3  # a jump of 3 dm while it stands: 9 contact steps, 2 feet
    found = losses(slides.flatten(2), truth.flatten(2), lengths(24), std)["foot_contact"]
    torch.testing.assert_close(found[0], torch.tensor(9.0 / 18, dtype=torch.float64))
    slides[0, :, 0] += normal(24, 3)  # the hips are no foot
    torch.testing.assert_close(losses(slides.flatten(2), truth.flatten(2), lengths(24), std)["foot_contact"], found)
    faster = only("foot_contact", contact_speed=21.0)  # then the truth always stands: 23 steps
    found = faster(slides.flatten(2), truth.flatten(2), lengths(24), std)["foot_contact"]
    torch.testing.assert_close(found[0], torch.tensor((9.0 + 2500) / 46, dtype=torch.float64))


@pytest.mark.parametrize("term", TERMS)
def test_noise_lowers_every_term_but_those_of_the_columns(term):
    kind = "axis_angle" if term == "forward_kinematics" else "positions"
    truth, std = standing(kind), torch.ones(SIZES[kind])
    call = (noisy(truth), truth, VALID, std)
    clean = only(term, kind=kind)(*call)[term]
    factor = 1.0 if term in OF_COLUMNS else 0.25
    for signal in (torch.full((3, 1), 0.25), torch.full((3, 24), 0.25)):
        torch.testing.assert_close(only(term, kind=kind)(*call, signal)[term], factor * clean)
        plain = only(term, kind=kind, noise_weighting="uniform")
        torch.testing.assert_close(plain(*call, signal)[term], clean)
    if factor == 1:
        torch.testing.assert_close(only(term)(*call, weight=torch.full((3, 1), 3.0))[term], 3 * clean)


def test_a_difference_is_as_noisy_as_its_noisiest_frame():
    truth, std = standing("positions"), torch.ones(SIZES["positions"])
    signal = torch.ones(3, 24, dtype=torch.float64)
    signal[:, 10] = 0.0
    guess = truth.clone()
    guess[:, 10] += 1.0  # only differences with this frame are wrong
    found = only("velocity", "acceleration")(guess, truth, VALID, std, signal)
    assert (found["velocity"] == 0).all()
    assert (found["acceleration"] == 0).all()


def test_terms_of_weight_zero_are_not_computed():
    losses = only("reconstruction", kind="axis_angle")
    losses.layout.forward = None  # decoding would fail
    assert losses(*[motion("axis_angle")] * 2, VALID, torch.ones(1)).keys() == {"reconstruction"}


@pytest.mark.parametrize(("kind", "geometric"), [("positions", "bone_length"), ("axis_angle", "forward_kinematics")])
def test_default_weights(kind, geometric):
    losses = MotionLosses({"velocity": 0.5}, layout(kind))
    assert losses.weights == {"reconstruction": 1.0, "velocity": 0.5, "acceleration": 0.05, geometric: 0.01}
    assert default_weights(layout(kind)).keys() == set(TERMS)
    found = losses(noisy(motion(kind)), motion(kind), VALID, torch.ones(1))
    by_hand = sum(losses.weights[name] * loss for name, loss in found.items())
    torch.testing.assert_close(losses.total(found), by_hand)


@pytest.mark.parametrize("frames", [1, 2])
def test_clips_too_short_for_a_difference(frames):
    truth = motion("positions")[:, :frames]
    valid = torch.ones(3, frames, dtype=torch.bool)
    signal = torch.full((3, frames), 0.5)
    found = only("velocity", "acceleration", "foot_contact")(noisy(truth), truth, valid, torch.ones(1), signal)
    assert (found["acceleration"] == 0).all()
    assert ((found["velocity"] > 0) == (frames == 2)).all()


def test_half_precision_is_widened():
    truth = motion("positions")
    found = only("velocity")(truth.bfloat16(), truth.float(), VALID, torch.ones(1))
    assert found["velocity"].dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "kind", "options", "message"),
    [
        ({"speed": 1.0}, "positions", {}, "loss 'speed'"),
        ({"velocity": -1.0}, "positions", {}, "weight of velocity is -1.0"),
        ({"forward_kinematics": 1.0}, "positions", {}, "hold no rotations"),
        ({"bone_length": 1.0}, "rot6d", {}, "cannot change the lengths"),
        ({}, "positions", {"noise_weighting": "snr"}, "noise_weighting='snr'"),
    ],
)
def test_weights_that_cannot_be(weights, kind, options, message):
    with pytest.raises(ValueError, match=message):
        MotionLosses(weights, layout(kind), **options)


def test_contact_needs_feet():
    with pytest.raises(ValueError, match="names no joints"):
        MotionLosses({"foot_contact": 1.0}, layout(feet=[]))


def test_terms_in_metres_are_left_out_where_there_is_next_to_no_signal():
    body, truth = layout("rot6d_velocity"), motion("rot6d_velocity")
    guess, valid, std = truth + 0.1 * normal(*truth.shape), lengths(24, 24, 24), torch.ones(truth.shape[-1])
    losses = MotionLosses({"velocity": 1.0, "foot_contact": 1.0}, body)
    signal = torch.tensor([[0.9], [FAINT / 2], [0.2]]).double()
    found = losses(guess, truth, valid, std, signal)
    alone = losses(guess[[0, 2]], truth[[0, 2]], valid[[0, 2]], std, signal[[0, 2]])
    for name in ("velocity", "acceleration"):
        assert found[name][1] == 0
        torch.testing.assert_close(found[name][[0, 2]], alone[name])
        assert (alone[name] > 0).all()
    assert found["reconstruction"][1] > 0
    uniform = MotionLosses({"velocity": 1.0}, body, noise_weighting="uniform")(guess, truth, valid, std, signal)
    assert (uniform["velocity"] > 0).all()
