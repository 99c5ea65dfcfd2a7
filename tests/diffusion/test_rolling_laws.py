"""The levels of a ramp, by their formula."""

import pytest
import torch

from lit_models.diffusion.rolling import make_rolling, ramp
from lit_models.diffusion.schedules import make_diffusion


@pytest.mark.parametrize(("horizon", "by"), [(4, 1), (5, 2), (3, 3)])
def test_a_ramp_is_even_and_stops_where_the_token_before_rests(horizon, by):
    rest, stop = ramp(60, horizon, shift_by=by)  # no history unless one is asked for
    assert rest.tolist() == [round(60 * min(1.0, (j + 1) / (horizon - by + 1))) for j in range(horizon)]
    assert stop.tolist() == [0] * by + rest.tolist()[:-by]
    known = ramp(60, horizon, 2, by)
    assert [levels.tolist() for levels in known] == [[0, 0, *rest.tolist()], [0, 0, *stop.tolist()]]


def test_each_stream_has_the_ramp_of_what_it_does_not_know():
    known = torch.tensor([[True, True, False, False, False, False], [True, False, False, False, False, False]])
    rolling = make_rolling("ramp", (make_diffusion(60),) * 2, known, 12, 1)
    for rest, stop, count in zip(rolling.rest, rolling.stop, (2, 1), strict=True):
        of_ramp = ramp(60, 6 - count, count, 1)
        assert [rest.tolist(), stop.tolist()] == [levels.tolist() for levels in of_ramp]
