"""Where a threshold counts: faster than the speed, at the step and in the mean around it."""

import torch

from lit_models.motion.metrics import skating


def test_a_foot_whose_mean_speed_is_just_the_threshold_does_not_skate():
    steps = torch.tensor([0.0, 1.0, 1.0, 0.5, 0.0])  # m a frame; 0.5 in the mean around the middle one
    feet = torch.zeros(1, 6, 1, 3)
    feet[0, 1:, 0, 0] = steps.cumsum(0)
    valid = torch.ones(1, 6, dtype=torch.bool)
    # of the five, the second, third and fourth are fast; the means around them are 0.5, 0.5 and 0.5
    assert skating(feet, valid, fps=1.0, up=1, speed=0.5).item() == 0.0
    assert skating(feet, valid, fps=1.0, up=1, speed=0.49).item() == 3 / 5
