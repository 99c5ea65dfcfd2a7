"""The levels of a ramp, by their formula."""

import pytest

from lit_models.diffusion.rolling import ramp


@pytest.mark.parametrize(("horizon", "by"), [(4, 1), (5, 2), (3, 3)])
def test_a_ramp_is_even_and_stops_where_the_token_before_rests(horizon, by):
    rest, stop = ramp(60, horizon, shift_by=by)  # no history unless one is asked for
    assert rest.tolist() == [round(60 * min(1.0, (j + 1) / (horizon - by + 1))) for j in range(horizon)]
    assert stop.tolist() == [0] * by + rest.tolist()[:-by]
    known = ramp(60, horizon, 2, by)
    assert [levels.tolist() for levels in known] == [[0, 0, *rest.tolist()], [0, 0, *stop.tolist()]]
