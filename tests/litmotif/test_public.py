"""The one name outside: ``import litmotif`` has what the three packages have."""

import pytest

import callbacks
import datamodules
import lit_models
import litmotif


def test_the_public_names_of_all_packages_are_those_of_the_leaf():
    for package in (lit_models, datamodules, callbacks):
        for name in package.__all__:
            assert getattr(litmotif, name) is getattr(package, name)
            assert name in dir(litmotif)


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'litmotif' has no attribute 'MDLM'"):
        _ = litmotif.MDLM
