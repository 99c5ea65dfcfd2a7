"""Files that were changed at random: each is read, or refused by a named error; nothing else leaves a reader.

pytest -m slow tests/security/test_fuzz.py          # LITMOTIF_FUZZ=100000 inputs a reader
"""

import contextlib
import json
import os
import random
import warnings

import numpy as np
import pytest
import torch

import lit_models
from datamodules.motion.readers import textgrid
from datamodules.trajectories.readers import native
from lit_models.cli import configs
from lit_models.cli.commands import run_summary
from lit_models.core.checkpoint import describe
from lit_models.export.rtneural.golden import Golden
from lit_models.export.rtneural.validate import read as read_model
from litmotif.cache import read_arrays
from litmotif.errors import LitmotifError

from ..cli.tiny import CONFIG

FEW, MANY = 60, int(os.environ.get("LITMOTIF_FUZZ", "100000"))
PIECES = [
    b"",
    b"\x00",
    b"{",
    b"[" * 2000,
    b"]",
    b'"',
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"null",
    b"NaN",
    b"\xff\xfe",
    b"&a *a",
]


def mutated(content, draw):
    """Bits flipped, a piece put in, taken out, written twice, or the end cut off."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(found) + 1)
        how = draw.randrange(5)
        if how == 0 and place < len(found):
            found[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            found[place:place] = draw.choice(PIECES)
        elif how == 2:
            del found[place : place + draw.randint(1, 40)]
        elif how == 3:
            found[place:place] = found[place : place + draw.randint(1, 200)]
        else:
            del found[draw.randrange(len(found) + 1) :]
    return bytes(found)


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)


def trajectories(path):
    layout = {"state": [{"name": "state", "size": 2}], "action": [{"name": "action", "size": 1}], "fps": 10}
    ends, table = np.array([3, 6]), np.arange(12.0).reshape(6, 2)
    npz(path, states=table, actions=table[:, :1], episode_ends=ends, layout=np.array(json.dumps(layout)), fps=10.0)


def model(path):
    dense = {"type": "dense", "shape": [None, None, 1], "weights": [[[1.0], [2.0]], [0.5]], "activation": "tanh"}
    path.write_text(json.dumps({"in_shape": [None, None, 2], "layers": [dense]}))


def checkpoint(path):
    module = lit_models.EmotionRecognizer()
    kept = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "litmotif": describe(module)}
    torch.save(kept, path, _use_new_zipfile_serialization=path.stem == "archive")


def as_json(content):
    return lambda path: path.write_text(json.dumps(content))


GRID = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0 1 <exists> 1 "IntervalTier" "words" 0 1 1 0 1 "hello"\n'
HISTORY = {"epoch": [1, 2], "val_loss": [0.5, None], "seconds": [1.0, 2.0]}
RESULTS = {"success": {"value": 0.5, "random": None}}
READERS = {
    "native npz": ("a.npz", trajectories, native.read),
    "cache": ("a.npz", trajectories, lambda path: read_arrays(path, "plans")),
    "golden frames": ("a.npz", lambda path: npz(path, inputs=np.eye(2), outputs=np.eye(2)), Golden.read),
    "RTNeural": ("a.json", model, read_model),
    "config": ("a.yaml", lambda path: path.write_text(CONFIG), configs.check),
    "history": (
        "history.json",
        lambda path: path.write_text(json.dumps(HISTORY)),
        lambda path: run_summary.summarise(path.parent),
    ),
    "results": (
        "results.json",
        lambda path: path.write_text(json.dumps(RESULTS)),
        lambda p: run_summary.test_results(p.parent),
    ),
    "TextGrid": ("a.TextGrid", lambda path: path.write_text(GRID), textgrid.read),
    "checkpoint": ("archive.ckpt", checkpoint, lit_models.load),
    "old checkpoint": ("legacy.ckpt", checkpoint, lit_models.load),
}


def fuzz(reader, folder, count):
    name, make, read = READERS[reader]
    path = folder / name
    make(path)
    content, draw, refused = path.read_bytes(), random.Random(reader), 0  # noqa: S311
    read(path)
    for number in range(count):
        path.write_bytes(mutated(content, draw))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except LitmotifError:
            refused += 1
        except Exception as error:
            path.rename(folder / f"raw_{number}")
            pytest.fail(f"{reader}, input {number}: {type(error).__name__}: {error}")
    return refused


@pytest.mark.parametrize("reader", READERS)
def test_what_is_changed_at_random_is_read_or_refused(reader, tmp_path):
    assert fuzz(reader, tmp_path, FEW) or reader == "cache"  # a damaged cache is made anew


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("reader", READERS)
def test_many_of_them(reader, tmp_path):
    fuzz(reader, tmp_path, MANY)


@pytest.mark.filterwarnings("ignore:.*is damaged")
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused(reader, tmp_path):
    name, _, read = READERS[reader]
    os.mkfifo(tmp_path / name)
    with contextlib.suppress(LitmotifError, FileNotFoundError):
        assert not read(tmp_path / name) or reader in ("history", "results")  # no file, as far as these go


def test_a_header_is_believed_as_far_as_there_are_bytes(tmp_path):
    npz(tmp_path / "a.npz", states=np.zeros(2**28 + 1, dtype=np.int8))
    assert (tmp_path / "a.npz").stat().st_size < 10**7
    with pytest.raises(LitmotifError, match="no bytes"):
        native.read(tmp_path / "a.npz")
