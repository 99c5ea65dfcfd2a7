"""Three tunes as data with a prompt."""

import numpy as np

from datamodules.music.prompt import SongPrompt
from datamodules.music.song import Meter, Song, sorted_notes
from datamodules.music.tasks import make_task


def tune(name, pitches, **maps):
    n = len(pitches)
    notes = sorted_notes(np.arange(n), np.full(n, 1.0), pitches, np.full(n, 90), np.zeros(n))
    return Song(name, tempos=np.array([[0.0, 240.0]]), **maps, **notes)


class Tunes:
    """What is asked of a datamodule."""

    prompt = SongPrompt

    def __init__(self, pickup=False):
        self.task, self.maker = "melody", make_task("melody", {})
        meters = {"meters": (Meter(0.0, 1, 4), Meter(1.0, 3, 4))} if pickup else {}
        self.library = [tune("trained on", [40] * 16), tune("one", list(range(60, 76)), **meters)]
        self.library += [tune("two", [70, 72] * 8)]

    def songs_of(self, split):
        return {"test": ["one", "two"]}.get(split, ["trained on"])
