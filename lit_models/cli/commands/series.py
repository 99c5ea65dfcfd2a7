"""``litmotif series``: several configs in turn, each by the ordinary ``fit`` in a process of its own.

What other training scripts call these options is here a key of the config, the same for all members:

| elsewhere | here |
|---|---|
| ``--output DIR`` | ``--out DIR`` |
| ``--epochs 100`` | ``--trainer.max_epochs 100`` |
| ``--batch-size 64`` | ``--data.batch_size 64`` |
| ``--device cpu`` (``cuda``, ``mps``) | ``--trainer.accelerator cpu`` (``cuda``, ``mps``), or ``-c trainer/gpu`` |
| ``--validation-split 0.2`` | ``--data.split [0.7,0.2,0.1]``: train, validation, test |
| ``--early-stopping-patience 10`` | ``--trainer.callbacks.patience 10`` where ``EarlyStopping`` is the last callback |
| ``--early-stopping-min-delta 0.001`` | ``--trainer.callbacks.min_delta 0.001``, likewise |
| ``--learning-rate 0.001`` | ``--model.lr 0.001`` |
| ``--resume EmotionRecognizer`` | ``--resume EmotionRecognizer`` (or ``midi/emotion``, or ``emotion``) |
| ``--no-history``, ``--no-plots`` | ``RunHistory`` with ``save: false``, ``plots: false`` in the config |
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.markup import escape
from rich.table import Table

from callbacks.results import Results, ResultsTable
from litmotif.files import write_atomically

from .. import configs, ending, run_folder
from ..console import console
from . import child
from .members import STOPPED, Member, Record, require_distinct, train
from .options import OptionsParser, refuse
from .outcome import as_json, outcome, results

SET_HERE = {
    "--trainer.default_root_dir": "set --out; each member has a folder of its own below it.",
    "--ckpt_path": "name the member with --resume.",
}
SHOWN = 4
"""Test metrics in the summary, losses aside; ``litmotif series test`` shows all."""


def command(arguments: list[str], runner: child.Runner = child.run) -> int:
    """Carry out ``litmotif series``.

    Args:
        arguments: what follows the command.
        runner: carries out one run.

    Returns:
        The exit status: 0; 1 where a member failed; 2 for a wrong request; 130 or 143 after a stop.
    """
    testing, arguments = arguments[:1] == ["test"], arguments[1:] if arguments[:1] == ["test"] else arguments
    parser = _parser()
    try:
        options, overrides = parser.take(arguments)
        refuse(parser, overrides, SET_HERE)
        asked = [*options.names, *options.config]
        if not asked:
            parser.error("no config: name a list or some configs, as in litmotif series -c midi/all.")
        members = assemble(asked, overrides, Path(options.out))
        home = Path(options.out) / "series" / title(asked)
        if testing:
            return _test(members, home, runner)
        resumed = _resumed(members, options.resume)
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return ending.FAILED
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return _fit(members, resumed, Record(home / "series.json"), runner, options.again)


def _parser() -> OptionsParser:
    parser = OptionsParser("series [test]", "Train several configs in turn, then show what each has reached.")
    parser.add_configs()
    parser.add_argument("names", nargs="*", default=[], help="more configs, or lists of configs (NAME.series.yaml)")
    parser.add_argument("--out", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--resume", type=str | None, help="go on with this one first, from its last checkpoint")
    parser.add_argument("--again", action="store_true", help="train anew also what is done, or was cut off")
    return parser


# ---------------------------------------------------------------------- who takes part
def assemble(asked: Sequence[str], overrides: Sequence[str], out: Path) -> list[Member]:
    """The members that a request names; its overlays (``trainer/gpu``) are laid over each of them.

    Raises:
        ConfigError: a name leads nowhere, there is no member, or two have one name.
    """
    names = [name for given in asked for name in listed(given)]
    overlays = [name for name in names if is_overlay(name)]
    members = []
    for name in names:
        if name not in overlays:
            configs.check(configs.find(name))
            called = configs.experiment_name([name])
            members.append(Member(called, (name, *overlays), tuple(overrides), out / called))
    if not members:
        raise configs.ConfigError(f"{' '.join(asked)}: overlays only; name a config to train.")
    require_distinct(members)
    return members


def listed(name: str) -> list[str]:
    """The configs of a list, or ``[name]`` where it is a config.

    A list is a YAML list of names in ``NAME.series.yaml``; a name in it is a shipped config, a file, or a file beside
    the list.

    Raises:
        ConfigError: the file holds no list of names.
    """
    stem = name.removesuffix(".yaml").removesuffix(configs.SERIES)
    candidates = [Path(f"{stem}{configs.SERIES}.yaml"), configs.folder() / f"{stem}{configs.SERIES}.yaml"]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return [name]
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise configs.ConfigError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, list) or not content or not all(isinstance(item, str) for item in content):
        raise configs.ConfigError(f"{path} is no list of configs: write one `- NAME` a line.")
    beside = [path.parent / f"{item.removesuffix('.yaml')}.yaml" for item in content]
    return [str(file) if file.is_file() else item for file, item in zip(beside, content, strict=True)]


def is_overlay(name: str) -> bool:
    """Whether a config changes how a member runs, not what it is."""
    return configs.experiment_name([name]) == "unnamed"


def title(asked: Sequence[str]) -> str:
    """The name of a series, which is that of its list: its record lies in ``series/TITLE``."""
    stems = [Path(name.removesuffix(".yaml").removesuffix(configs.SERIES)).as_posix().strip("./") for name in asked]
    return stems[0] if len(stems) == 1 else "+".join(stem.replace("/", "_") for stem in stems)


def _resumed(members: list[Member], name: str | None) -> dict[str, Path]:
    """Move the named member to the front, and find its last checkpoint."""
    if name is None:
        return {}
    found = [member for member in members if name.casefold() in _names(member)]
    if len(found) != 1:
        names = ", ".join(member.name for member in members)
        raise configs.ConfigError(f"--resume {name}: {len(found)} members are called so. There are: {names}.")
    members.sort(key=lambda member: member is not found[0])
    return {found[0].name: run_folder.find_checkpoint("last", found[0].root)}


def _names(member: Member) -> set[str]:
    content = yaml.safe_load(configs.find(member.configs[0]).read_text())
    model = content.get("model") or {}
    module = str(model.get("class_path", "") if isinstance(model, dict) else model).rpartition(".")[2]
    return {text.casefold() for text in (member.name, member.name.rpartition("/")[2], module)}


# ---------------------------------------------------------------------- what is done
def _fit(members: list[Member], resumed: dict[str, Path], record: Record, runner: child.Runner, again: bool) -> int:
    status = train(members, record, runner, again, resumed)
    if status in STOPPED:
        print("litmotif: stopped. The same command goes on where it was.", file=sys.stderr)
        return status
    console().print(summary(members, record))
    failed = [member.name for member in members if not record.done(member)]
    if failed:
        print(f"litmotif: failed: {', '.join(failed)}. The same command tries them again.", file=sys.stderr)
    return status


def summary(members: Sequence[Member], record: Record) -> Table:
    """One row a member: what it has reached."""
    table = Table(title=f"series, {record.path.parent.name}", caption=str(record.path), caption_justify="left")
    for name in ("model", "best epoch", "val loss", "test", "seconds", "parameters", "run folder"):
        right = name in ("best epoch", "val loss", "seconds", "parameters")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for member in members:
        run = record.run(member)
        if run is None or not record.done(member):
            exit_status = record.of(member).get("exit", "—")
            table.add_row(
                member.name, "", "", f"[red]failed (status {exit_status})[/red]", "", "", escape(str(run or "—"))
            )
            continue
        reached = outcome(run)
        told = {name: rows for name, rows in reached.results.items() if not name.startswith("loss")}
        test = ", ".join(f"{name} {cell}" for name, cell, _ in _cells(told)[:SHOWN])
        table.add_row(
            f"{member.name}\n{reached.module}",
            _text(reached.best_epoch),
            _text(reached.val_loss, ".4g"),
            test or "—",
            _text(reached.seconds, ".0f"),
            _text(reached.parameters, ","),
            escape(str(run)),
        )
    return table


def _text(value: float | None, form: str = "") -> str:
    return "—" if value is None else format(value, form)


def _cells(found: Results) -> list[tuple[str, str, str]]:
    """Each metric with its value (and interval) and its baselines."""
    table = ResultsTable()
    cells = []
    for name, rows in found.items():
        others = [f"{row} {table.cell(rows, row)}" for row in rows if row not in ("value", "low", "high")]
        cells.append((name.replace("_", " "), table.cell(rows, "value"), ", ".join(others)))
    return cells


def _test(members: Sequence[Member], home: Path, runner: child.Runner) -> int:
    failed, found = [], {}
    for number, member in enumerate(members, 1):
        print(f"[{number}/{len(members)}] {member.name}", flush=True)
        status = runner([*member.request("test", "best"), "--verbose", "false"])  # our table says it all
        if status in STOPPED:
            return status
        if status:
            failed.append(member.name)
        else:
            found[member.name] = results(run_folder.find_checkpoint("best", member.root).parent.parent)
    table = Table(title=f"test, {home.name}")
    for name in ("model", "metric", "value", "beside"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for name, of_member in found.items():
        for row, (metric, value, others) in enumerate(_cells(of_member)):
            table.add_row(name if row == 0 else "", metric, value, others, end_section=row == len(of_member) - 1)
    console().print(table)
    write_atomically(home / "test.json", as_json(found))
    if failed:
        print(f"litmotif: failed: {', '.join(failed)}.", file=sys.stderr)
    return ending.FAILED if failed else 0
