"""Series of experiments: ``litmotif series``, several configs in turn, each by ``fit`` in a process of its own."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from jsonargparse import Namespace
from rich.markup import escape
from rich.table import Column, Table

from callbacks.results import Results, ResultsTable
from litmotif.names import BOUNDS

from .. import configs, run_claim, run_folder
from ..errors import RequestError
from ..tables import console
from .frame import CommandParser
from .run_queue import RESERVED, QueueCommand, RunQueue, RunSpec, exit_status
from .run_summary import summarise, test_results, write_json

SHOWN = 4
"""Test metrics in the summary, losses aside; ``litmotif series test`` shows all."""


class Series(QueueCommand):
    """Trains several configs, or tests them, and shows what each has reached."""

    reserved = RESERVED | {"--ckpt_path": "name the member with --resume."}

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Configs, and where to go on."""
        super().add_arguments(parser, arguments)
        parser.add_argument("names", nargs="*", default=[], help="more configs, or lists of configs (NAME.series.yaml)")
        parser.add_argument("--seeds", type=str | None, help="each config with each of these, such as 0-4 or 0,3,7")
        parser.add_argument("--resume", type=str | None, help="go on with this one first, from its last checkpoint")

    def run(self, options: Namespace) -> int:
        """Train, or test where the first name is ``test``."""
        testing = options.names[:1] == ["test"]
        asked = [*options.names[testing:], *options.config]
        if not asked:
            raise RequestError("no config: name a list or some configs, as in litmotif series -c midi/all.")
        home = Path(options.out) / "series" / title(asked)
        specs = assemble(asked, options.overrides, Path(options.out))
        if options.seeds is not None:
            specs = [with_seed(spec, seed) for spec in specs for seed in seeds(options.seeds)]
        queue = RunQueue(specs, home / "series.json", self.runner)
        if testing:
            return test(queue, home)
        failed = queue.train(options.again, _to_front(queue.specs, options.resume))
        console().print(summary(queue))
        return exit_status(failed)


# ---------------------------------------------------------------------- who takes part
def assemble(asked: Sequence[str], overrides: Sequence[str], out: Path) -> list[RunSpec]:
    """The runs that a request names; its overlays (``trainer/gpu``) are laid over each of them.

    Raises:
        ConfigError: a name leads nowhere, or there is no run.
    """
    names = [name for given in asked for name in listed(given)]
    overlays = [name for name in names if configs.experiment_name([name]) == "unnamed"]
    experiments = [name for name in names if name not in overlays and configs.check(configs.find(name))]
    if not experiments:
        raise configs.ConfigError(f"{' '.join(asked)}: overlays only; name a config to train.")
    called = [configs.experiment_name([name]) for name in experiments]
    specs = zip(called, experiments, strict=True)
    return [RunSpec(name, (config, *overlays), tuple(overrides), out / name) for name, config in specs]


def listed(name: str) -> list[str]:
    """The configs of a list, or ``[name]`` where it is a config.

    A list is a YAML list of names in ``NAME.series.yaml``; a name in it is a shipped config, a file, or a file beside
    the list.

    Raises:
        ConfigError: the file holds no list of names.
    """
    candidates = [folder / f"{_stem(name)}{configs.SERIES}.yaml" for folder in (Path(), configs.folder())]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return [name]
    content = configs.read(path)
    if not isinstance(content, list) or not content or not all(isinstance(item, str) for item in content):
        raise configs.ConfigError(f"{path} is no list of configs: write one `- NAME` a line.")
    beside = [path.parent / f"{item.removesuffix('.yaml')}.yaml" for item in content]
    return [str(file) if file.is_file() else item for file, item in zip(beside, content, strict=True)]


def seeds(text: str) -> list[int]:
    """The seeds that ``0-4`` or ``0,3,7`` names.

    Raises:
        RequestError: it names none, or one twice.
    """
    found: list[int] = []
    for part in text.split(","):
        first, to, last = part.strip().partition("-")
        last = last if to else first
        if not (first.isdigit() and last.isdigit()):
            raise RequestError(f"--seeds {text}: write a range such as 0-4, or a list such as 0,3,7.")
        found += range(int(first), int(last) + 1)
    if not found or len(set(found)) < len(found):
        raise RequestError(f"--seeds {text}: {'a seed twice' if found else 'no seed'}.")
    return found


def with_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The same with this seed, in a folder of its own below that of the experiment."""
    overrides = (*spec.overrides, "--seed_everything", str(seed))
    return RunSpec(f"{spec.name}/seed_{seed}", spec.configs, overrides, spec.root / f"seed_{seed}")


def _stem(name: str) -> str:
    return name.removesuffix(".yaml").removesuffix(configs.SERIES)


def title(asked: Sequence[str]) -> str:
    """The name of a series, which is that of its list: its journal lies in ``series/TITLE``."""
    stems = [Path(_stem(name)).as_posix().strip("./") for name in asked]
    return stems[0] if len(stems) == 1 else "+".join(stem.replace("/", "_") for stem in stems)


def _to_front(specs: list[RunSpec], name: str | None) -> dict[str, Path]:
    """Move the named run to the front, and find its last checkpoint."""
    if name is None:
        return {}
    found = [spec for spec in specs if name.casefold() in _names(spec)]
    if len(found) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise RequestError(f"--resume {name}: {len(found)} members are called so. There are: {names}.")
    specs.sort(key=lambda spec: spec is not found[0])
    return {found[0].name: run_folder.find_checkpoint("last", found[0].root)}


def _names(spec: RunSpec) -> set[str]:
    """What a run may be called: its config, the last part of that, the class of its module."""
    model = configs.read(configs.find(spec.configs[0])).get("model") or {}
    module = str(model.get("class_path", "") if isinstance(model, dict) else model)
    return {text.casefold() for text in (spec.name, spec.name.rpartition("/")[2], module.rpartition(".")[2])}


# ---------------------------------------------------------------------- what they have reached
def summary(queue: RunQueue) -> Table:
    """One row a run: what it has reached."""
    table = Table(title=f"series, {queue.journal.parent.name}", caption=str(queue.journal), caption_justify="left")
    for name in ("model", "best epoch", "val loss", "test", "seconds", "parameters", "run folder"):
        table.add_column(name, justify="left" if name in ("model", "test", "run folder") else "right", overflow="fold")
    for spec in queue.specs:
        table.add_row(*_row(queue, spec))
    return table


def _row(queue: RunQueue, spec: RunSpec) -> tuple[str, ...]:
    run = queue.folder(spec)
    if run is None or not queue.done(spec):
        failed = f"[red]failed (status {queue.entry(spec).get('exit', '—')})[/red]"
        return (spec.name, "", "", failed, "", "", escape(str(run or "—")))
    reached = summarise(run)
    shown = {name: rows for name, rows in reached.results.items() if not name.startswith("loss")}
    test = ", ".join(f"{name} {value}" for name, value, _ in islice(_cells(shown), SHOWN))
    numbers = ((reached.best_epoch, ""), (reached.val_loss, ".4g"), (reached.seconds, ".0f"), (reached.parameters, ","))
    epoch, loss, seconds, parameters = ("—" if value is None else format(value, form) for value, form in numbers)
    return (f"{spec.name}\n{reached.module}", epoch, loss, test or "—", seconds, parameters, escape(str(run)))


def _cells(found: Results) -> Iterator[tuple[str, str, str]]:
    """Each metric with its value (and interval) and its baselines."""
    table = ResultsTable()
    for name, rows in found.items():
        others = [f"{row} {table.cell(rows, row)}" for row in rows if row not in ("value", *BOUNDS)]
        yield name.replace("_", " "), table.cell(rows, "value"), ", ".join(others)


def test(queue: RunQueue, home: Path) -> int:
    """Test the best checkpoint of each run; one table of all metrics, each beside its baselines."""
    best = {spec.name: "best" for spec in queue.specs}
    failed = queue.evaluate("test", best, "--verbose", "false")  # our table says it all
    tested = [spec for spec in queue.specs if spec.name not in failed]
    runs = {spec.name: run_folder.find_checkpoint("best", spec.root).parent.parent for spec in tested}
    found = {name: test_results(run_claim.newest(run, "test", "results.json").parent) for name, run in runs.items()}
    table = Table("model", "metric", Column("value", justify="right"), "beside", title=f"test, {home.name}")
    for name, results in found.items():
        for number, cells in enumerate(_cells(results)):
            table.add_row("" if number else name, *cells)
        table.add_section()
    console().print(table)
    write_json(home / "test.json", found)
    return exit_status(failed)
