"""Errors carry their remedy apart from what was wrong, and survive the way out of another process."""

import pickle

import pytest

from litmotif.errors import ArgumentError, DataError, LitmotifError
from litmotif.names import did_you_mean, nearest


@pytest.mark.parametrize("kind", [LitmotifError, ArgumentError, DataError])
def test_message_and_remedy_come_through_a_pickle(kind):
    error = pickle.loads(pickle.dumps(kind("lr=-1: negative.", "Choose lr > 0.")))  # noqa: S301
    assert type(error) is kind
    assert (error.message, error.remedy) == ("lr=-1: negative.", "Choose lr > 0.")
    assert str(error) == "lr=-1: negative. Choose lr > 0."
    assert str(kind("alone")) == "alone"


def test_the_nearest_names_come_first_and_nothing_comes_for_what_is_far():
    known = ["MDLMDiT", "MotionDDPM", "MotionEvaluator"]
    assert nearest("mdlmdit", known)[0] == "MDLMDiT"
    assert did_you_mean("MotionDDMP", known).startswith(" Did you mean 'MotionDDPM'")
    assert did_you_mean("zzz", known) == ""
