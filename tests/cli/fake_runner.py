"""A runner that trains nothing: it leaves a run folder, as ``fit`` would, and ends as it is told."""

import json
from pathlib import Path

from lit_models.cli import configs


def option(arguments, name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


class FakeRunner:
    """Counts what it is asked for.

    Args:
        ends: exit status by the last part of the root, once each; 0 otherwise.
        results: left by each run.
    """

    def __init__(self, ends=None, results=None):
        self.ends, self.results, self.asked = dict(ends or {}), results, []

    def __call__(self, arguments):
        self.asked.append(arguments)
        root = Path(option(arguments, "--trainer.default_root_dir"))
        checkpoint = option(arguments, "--ckpt_path")
        versions = sorted(root.glob("version_*"))
        if checkpoint is None:
            run = root / f"version_{len(versions)}"
        else:
            run = versions[-1] if checkpoint in ("best", "last") else Path(checkpoint).parents[1]
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        (run / "checkpoints" / "last.ckpt").write_text("")
        if self.results is not None:
            (run / "results.json").write_text(json.dumps(self.results(arguments)))
        return self.ends.pop(root.name, 0)

    @property
    def resumed(self):
        """Name and checkpoint of what was asked for, in order."""
        return [(configs.experiment_name(configs.split(a)[0]), option(a, "--ckpt_path")) for a in self.asked]
