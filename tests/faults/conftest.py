import pytest

from .runs import uninterrupted


@pytest.fixture(scope="session")
def whole(launcher, tmp_path_factory):
    """The uninterrupted run of an algorithm, made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = uninterrupted(name, tmp_path_factory.mktemp("whole") / name, launcher)
        return made[name]

    return of
