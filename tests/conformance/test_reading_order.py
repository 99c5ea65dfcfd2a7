"""The reading order of a README names the files that a training step and a sampler go through."""

import re
import sys
from pathlib import Path

import pytest

import lit_models

from .cases import make, make_trainer

MODELS = Path(lit_models.__file__).parent
MOST = 10
ITEM = re.compile(r"^\d+\. \[[^]]+\]\((.+?)\)", re.MULTILINE)


def plan(model, data):
    past = data.split("test").__getitems__([(0, 0)])
    return model.plan(past.states, past.actions)


def generate(model, data):
    return model.generate("a person walks", num_frames=10)


def listed(room):
    """The files of the README's reading order."""
    text = (MODELS / room / "README.md").read_text().partition("## Reading order\n")[2].partition("\n\n")[0]
    return [(MODELS / room / name).resolve() for name in ITEM.findall(text)]


@pytest.mark.parametrize(
    ("name", "room", "sample"), [("StateActionDDPM", "state_action", plan), ("MotionDDPM", "motion", generate)]
)
def test_a_training_step_and_a_sampler_go_through_the_listed_files(name, room, sample, tmp_path, monkeypatch):
    gone_through = set()

    def note(frame, event, argument):
        if event == "call":
            gone_through.add(Path(frame.f_code.co_filename))

    def noted(step):
        def run(*arguments):
            sys.setprofile(note)
            try:
                return step(*arguments)
            finally:
                sys.setprofile(None)

        return run

    model, data = make(name)
    monkeypatch.setattr(model, "training_step", noted(model.training_step))
    make_trainer(tmp_path, ema=False, max_steps=1, limit_val_batches=0, enable_checkpointing=False).fit(model, data)
    noted(sample)(model, data)
    own = {path for path in gone_through if path.is_relative_to(MODELS) and MODELS / "core" not in path.parents}
    assert set(listed(room)) == own
    assert len(own) <= MOST
