import json
import socket

import pytest
import torch
import yaml

from ..launcher import Start
from .cases import RECORDS, records, saver
from .registry import REGISTRY


def write_config(name, path):
    entry = REGISTRY[name]
    config = {
        "model": {"class_path": name, "init_args": dict(entry.tiny)},
        "data": {"class_path": entry.data, "init_args": dict(entry.tiny_data)},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "enable_progress_bar": False,
            "callbacks": [saver(filename="last"), *records(RECORDS)],
        },
    }
    path.write_text(yaml.safe_dump(config))


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return str(bound.getsockname()[1])


@pytest.fixture
def fit(launcher, tmp_path):
    """The real command on one process or two; what it leaves: weights, history, results."""

    def run(name, folder, *options, processes=1):
        config, said = tmp_path / f"{folder}.yaml", [tmp_path / f"{folder}.{rank}.txt" for rank in range(processes)]
        write_config(name, config)
        arguments = ["fit", "-c", str(config), f"--trainer.default_root_dir={tmp_path / folder}", *options]
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": str(processes)}
        ranks = [
            together | {"NODE_RANK": "0", "LOCAL_RANK": str(rank)} if processes > 1 else {} for rank in range(processes)
        ]
        ends = launcher.run(
            *(Start(arguments, str(tmp_path), str(path), rank) for path, rank in zip(said, ranks, strict=True))
        )
        assert [end.status for end in ends] == [0] * processes, "\n".join(path.read_text() for path in said)
        (version,) = (tmp_path / folder).iterdir()  # one folder for both processes
        assert version.name == "version_0"
        weights = torch.load(version / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        history, results = (json.loads((version / f"{kind}.json").read_text()) for kind in ("history", "results"))
        return weights, history, {name: rows for name, rows in results.items() if name != "of"}

    return run
