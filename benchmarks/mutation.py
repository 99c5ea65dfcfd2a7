"""Mutation analysis (DeMillo et al. 1978): how many single changes to the maths the tests notice.

    pip install cosmic-ray
    python benchmarks/mutation.py

A mutant is a source file with one change: an operator of cosmic-ray's that puts a like thing in place of another (an
arithmetic operator, a comparison, a number one up or down, a condition negated, a loop of no turns, ...), or one
statement left out. Not counted are changes to annotations and protocols, to messages of ``raise``, to ``strict`` of
``zip``, to decorators that only tools read, and those that do not compile. Each mutant is tried in a forked child of
one warm process, on a copy of the tree, by pytest as the README calls it (the same markers) on the tests of that file,
until one fails or the time is out. A mutant that survives these may still be noticed by the rest of ``pytest``: the
score is a lower bound.

The sample is spread over the lines of a file. Mutants that change nothing that anybody could see are listed with the
reason in mutation_equivalent.diff, and are left out. Survivors are written in the same format.
"""

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "benchmarks" / "mutation_equivalent.diff"
CPO, MDLM, MIDI = "lit_models/cpo", "lit_models/mdlm", "lit_models/midi"
DIFFUSION, STATE_ACTION, MOTION = "lit_models/diffusion", "lit_models/state_action", "lit_models/motion"
ROLLOUTS = ["tests/datamodules/test_rollouts*.py", "tests/doors/test_environments.py"]
PROCESS = [f"tests/diffusion/test_{name}*.py" for name in ("process", "schedules", "samplers", "guidance", "p")]
SOURCES = {
    f"{CPO}/trust_region.py": [
        "tests/cpo/test_trust_region*.py",
        "tests/cpo/test_small_laws.py",
        "tests/cpo/test_optimizer*.py",
    ],
    f"{CPO}/optimizer.py": ["tests/cpo/test_optimizer*.py", "tests/cpo/test_module.py"],
    f"{CPO}/advantage.py": ["tests/cpo/test_advantage.py"],
    f"{CPO}/on_policy.py": ["tests/cpo/test_on_policy*.py", "tests/cpo/test_module.py"],
    f"{CPO}/metrics.py": ["tests/cpo/test_metrics*.py", "tests/cpo/test_small_laws.py", "tests/cpo/test_module.py"],
    "datamodules/rollouts/collector.py": ROLLOUTS,
    **{f"datamodules/rollouts/{name}.py": ROLLOUTS for name in ("sources", "gymnasium_source", "plain", "spaces")},
    f"{DIFFUSION}/process.py": PROCESS,
    f"{DIFFUSION}/schedules.py": PROCESS,
    f"{DIFFUSION}/samplers.py": PROCESS,
    f"{DIFFUSION}/guidance.py": ["tests/diffusion/test_guidance*.py", "tests/state_action/test_planner*.py"],
    f"{DIFFUSION}/rolling.py": ["tests/diffusion/test_rolling*.py"],
    f"{STATE_ACTION}/metrics.py": ["tests/state_action/test_metrics*.py", "tests/state_action/test_module.py"],
    f"{MOTION}/losses.py": ["tests/motion/test_losses*.py", "tests/motion/test_module.py"],
    f"{MOTION}/metrics.py": ["tests/motion/test_metrics*.py", "tests/motion/test_module.py"],
    f"{MDLM}/diffusion.py": ["tests/mdlm/test_diffusion*.py", "tests/mdlm/test_samplers*.py"],
    f"{MDLM}/samplers.py": ["tests/mdlm/test_samplers*.py", "tests/mdlm/test_module.py"],
    f"{MDLM}/metrics.py": ["tests/mdlm/test_metrics*.py", "tests/mdlm/test_module.py"],
    f"{MIDI}/losses.py": ["tests/midi/test_losses*.py", "tests/midi/test_modules.py"],
    f"{MIDI}/metrics.py": ["tests/midi/test_metrics*.py", "tests/midi/test_modules.py"],
    f"{MIDI}/stack.py": ["tests/midi/test_stack*.py", "tests/midi/test_modules.py", "tests/export/test_parity.py"],
    **{
        f"litmotif/geometry/{name}.py": ["tests/geometry/test_*.py", "tests/motion/test_skeleton*.py"]
        for name in ("rotations", "kinematics", "frames", "odometry", "limbs")
    },
    "lit_models/core/normalizer.py": ["tests/core/test_normalizer.py", "tests/state_action/test_normalizer*.py"],
    "lit_models/export/rtneural/lower.py": ["tests/export/test_*.py", "tests/midi/test_headline.py"],
}
"""Each file of maths, and patterns of the tests that run for it, in this order."""

WARM = (
    *("lightning.pytorch", "scipy.optimize", "scipy.stats", "torchmetrics", "jsonargparse", "gymnasium.vector"),
    *("matplotlib.figure", "minigrid", "diffusers", "symusic"),
)
"""What the tests import and take long to; none of it ours."""

LIKE = (
    ("Binary", ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow")),
    ("Binary", ("BitOr", "BitAnd", "BitXor")),
    ("Binary", ("LShift", "RShift")),
    ("Comparison", ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")),
    ("Comparison", ("Is", "IsNot")),
)
"""Operators that stand for each other: one of another kind would only fail on its types."""

OPERATORS = [
    *(f"Replace{kind}Operator_{a}_{b}" for kind, alike in LIKE for a, b in permutations(alike, 2)),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Invert", "Not")),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer"),
    *("RemoveDecorator", "ZeroIterationForLoop"),
]
FORK = multiprocessing.get_context("fork")
MEMORY = 16 * 2**30
Key = tuple[str, str, str, str]
"""A file, the operator, the lines taken away, and those put in their place, without their indentation."""


@dataclass(frozen=True)
class Mutant:
    """One change to one file: an operator at its n-th place, or the statement on some lines left out."""

    file: str
    line: int
    operator: str
    place: int

    def source(self) -> str | None:
        """The changed file; None where it does not compile or is the same."""
        text = (ROOT / self.file).read_text()
        if self.operator == "DeleteStatement":
            lines = text.splitlines(keepends=True)
            indent = re.match(r"\s*", lines[self.line - 1])
            changed = "".join(
                [*lines[: self.line - 1], f"{indent.group() if indent else ''}pass\n", *lines[self.place :]]
            )
        else:
            from cosmic_ray.mutating import mutate_code
            from cosmic_ray.plugins import get_operator

            changed = mutate_code(text, get_operator(f"core/{self.operator}")(), self.place)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError:
            return None
        return changed if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)) else None

    def diff(self) -> str:
        """What it changes."""
        lines = ((ROOT / self.file).read_text().splitlines(), (self.source() or "").splitlines())
        return "\n".join(difflib.unified_diff(*lines, self.file, self.operator, n=0, lineterm="")) + "\n"


def keys(diffs: str) -> list[Key]:
    """The changes in a text of unified diffs; whatever stands between them is a remark."""
    found = []
    for file, operator, hunk in re.findall(
        r"^--- (\S+)\n\+\+\+ (\S+)\n@@.*@@\n((?:(?!--- )[-+].*\n?)+)", diffs, re.MULTILINE
    ):
        lines = hunk.splitlines()
        old, new = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        found.append((file, operator, old, new))
    return found


def uncounted(tree: ast.AST) -> Iterator[ast.AST]:
    """Annotations, messages, decorators for tools, guards of ``zip``: nothing that a test could see of right code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef):
            yield from [node.returns] if node.returns else []
            yield from (d for d in node.decorator_list if "no_grad" not in ast.unparse(d))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "zip":
            yield from (keyword.value for keyword in node.keywords)
        elif isinstance(node, ast.ClassDef):
            yield from node.decorator_list
            if any(ast.unparse(base) == "Protocol" for base in node.bases):
                yield from node.body
        elif isinstance(node, ast.Raise | ast.TypeAlias if hasattr(ast, "TypeAlias") else ast.Raise):
            yield node


def population(file: str) -> list[Mutant]:
    """Every mutant of a file, whether it compiles or not."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    text = (ROOT / file).read_text()
    tree: Any = ast.parse(text)
    spans: list[Any] = list(uncounted(tree))
    hidden = [((s.lineno, s.col_offset), (s.end_lineno, s.end_col_offset)) for s in spans]
    operators = {name: get_operator(f"core/{name}")() for name in OPERATORS}
    places = dict.fromkeys(OPERATORS, -1)
    found = []
    for node in ast_nodes(get_ast(text)):
        for name, operator in operators.items():
            for start, _ in operator.mutation_positions(node):
                places[name] += 1
                # a decorator begins at its @, one column before what ast calls by that name
                after = (start[0], start[1] + (name == "RemoveDecorator"))
                if not any(low <= after < high for low, high in hidden):
                    found.append(Mutant(file, start[0], name, places[name]))
    for statement in ast.walk(tree):
        call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        kept = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript)
        if call or kept or isinstance(statement, ast.AugAssign):
            found.append(Mutant(file, statement.lineno, "DeleteStatement", statement.end_lineno or statement.lineno))
    return found


def sample(file: str, count: int | None, seed: int) -> list[Mutant]:
    """``count`` mutants, as many from each line as from any other; None takes all."""
    mutants = population(file)
    random.Random(f"{seed} {file}").shuffle(mutants)  # noqa: S311
    rank: dict[int, int] = {}
    order = []
    for mutant in mutants:
        rank[mutant.line] = rank.get(mutant.line, 0) + 1
        order.append((rank[mutant.line], len(order), mutant))
    known = set(keys(EQUIVALENT.read_text()))
    chosen: dict[str, Mutant] = {}
    for *_, mutant in sorted(order, key=lambda entry: entry[:2]):
        if count is not None and len(chosen) == count:
            break
        source = mutant.source()
        if source is not None and not known.intersection(keys(mutant.diff())):
            chosen.setdefault(source, mutant)
    return sorted(chosen.values(), key=lambda mutant: mutant.line)


def named(wanted: set[Key], files: list[str]) -> list[Mutant]:
    """The mutants that make these changes."""
    places = {(file, operator, old.splitlines()[0]) for file, operator, old, _ in wanted}
    found = []
    for file in files:
        text = (ROOT / file).read_text().splitlines()
        for mutant in population(file):
            # a condition's operator may stand on a later line than the first that it changes
            near = text[max(0, mutant.line - 2) : mutant.line + 1]
            if any((file, mutant.operator, line.strip()) in places for line in near):
                found += [mutant] * bool(wanted.intersection(keys(mutant.diff())))
    return found


def run_pytest(tree: Path, tests: tuple[str, ...], seconds: int, cached: bool) -> None:
    """In a child: pytest on the tree; its status is that of the child."""
    os.setsid()
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    sys.dont_write_bytecode = not cached
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))  # another load on the machine does not count
    null = os.open(tree.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    status = 3
    try:
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={tree.parent / 'tmp'}"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of a warm process
        status = int(pytest.main([*options, *tests]))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)  # what other libraries do at exit is not of this process


def status_of(tree: Path, tests: tuple[str, ...], seconds: int = 3600, cached: bool = False) -> int | None:
    """Exit status of pytest; None where it used more processor time than that, or hangs."""
    child = FORK.Process(target=run_pytest, args=(tree, tests, seconds, cached))
    child.start()
    child.join(60 + 20 * seconds)
    hangs = child.exitcode is None
    with suppress(ProcessLookupError):
        os.killpg(child.pid or 0, signal.SIGKILL)
    child.join()
    return None if hangs else child.exitcode


def used() -> float:
    """Seconds of processor time of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def own_tree(model: Path, folder: Path) -> None:
    """Give this worker a tree of its own."""
    global TREE
    TREE = Path(tempfile.mkdtemp(dir=folder)) / "tree"
    shutil.copytree(model, TREE)


def killer(mutant: Mutant, tests: tuple[str, ...], seconds: int) -> str | None:
    """In a worker: the test that fails, or what ended the run; None where all pass."""
    path, source = TREE / mutant.file, mutant.source()
    kept = path.read_bytes()
    path.write_text(source or "")
    try:
        if status_of(TREE, tests, seconds) == 0:
            return None
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", (TREE.parent / "output").read_text(), re.MULTILINE)
        return failed.group(1) if failed else "time, memory or a crash"
    finally:
        path.write_bytes(kept)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", nargs="+", default=list(SOURCES), help="only these; the end of a path is enough")
    parser.add_argument("--per_file", type=int, default=20, help="mutants of a file")
    parser.add_argument("--all", action="store_true", help="every mutant: hours")
    parser.add_argument("--only", type=Path, metavar="SURVIVORS", help="only the mutants in this file of diffs")
    parser.add_argument("--tests", nargs="+", help="run these in place of the tests of the file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="which test noticed which mutant")
    parser.add_argument("--survivors", type=Path, default=Path("runs/mutation/survivors.diff"), help="written")
    args = parser.parse_args()
    if find_spec("cosmic_ray") is None:
        raise SystemExit("benchmarks/mutation.py needs cosmic-ray: pip install cosmic-ray")
    files = [file for file in SOURCES if any(file.endswith(name) for name in args.file)]
    if args.only:
        wanted = keys(args.only.read_text())
        files = [file for file in files if file in {key[0] for key in wanted}]
    for file, _, old, _ in keys(EQUIVALENT.read_text()):
        if old.splitlines()[0] not in map(str.strip, (ROOT / file).read_text().splitlines()):
            print(f"{EQUIVALENT.name}: {file} has no line {old!r} any more")
    torch.set_num_threads(1)
    for name in WARM:
        with suppress(ImportError):
            import_module(name)

    args.survivors.parent.mkdir(parents=True, exist_ok=True)
    counts = {file: [0, 0] for file in files}
    with tempfile.TemporaryDirectory() as name, args.survivors.open("w") as report:
        folder = Path(name)
        model = folder / "model" / "tree"
        shutil.copytree(ROOT, model, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "*.ckpt", "mlruns"))
        tests, limits = {}, {}
        for file in track(files, "tests as they are"):
            patterns = args.tests or SOURCES[file]
            tests[file] = tuple(str(path.relative_to(ROOT)) for part in patterns for path in sorted(ROOT.glob(part)))
            if tests[file] not in limits:
                began = used()
                if status_of(model, tests[file], cached=True) != 0:
                    raise SystemExit(
                        f"{(folder / 'model' / 'output').read_text()[-4000:]}\n{file}: its tests fail as is"
                    )
                limits[tests[file]] = 10 + round(4 * (used() - began))
        chosen = (
            named(set(wanted), files)
            if args.only
            else [m for file in files for m in sample(file, None if args.all else args.per_file, args.seed)]
        )
        start = partial(own_tree, model, folder)
        with ProcessPoolExecutor(args.workers, mp_context=FORK, initializer=start) as pool:
            jobs = {pool.submit(killer, m, tests[m.file], limits[tests[m.file]]): m for m in chosen}
            for job in track(as_completed(jobs), "mutants", total=len(jobs)):
                mutant, test = jobs[job], job.result()
                counts[mutant.file][0] += 1
                counts[mutant.file][1] += test is not None
                if args.verbose:
                    print(f"{mutant.file}:{mutant.line} {mutant.operator} {mutant.place}: {test}", flush=True)
                if test is None:
                    report.write(mutant.diff())
                    report.flush()
    show(counts)
    print(f"Survivors: {args.survivors}")


def show(counts: dict[str, list[int]]) -> None:
    """The table; ours is imported only now, since a child must import the mutant."""
    sys.path.insert(0, str(ROOT))
    from litmotif.intervals import rate

    table = Table("file", title="Mutants that the tests notice")
    for column in ("mutants", "killed", "score", "95 %"):
        table.add_column(column, justify="right")
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    for file, (total, killed) in [*counts.items(), ("all", totals)]:
        if total:
            share = rate("score", killed, total)
            interval = f"{share['score/low']:.0%} to {share['score/high']:.0%}"
            table.add_row(file, str(total), str(killed), f"{share['score']:.0%}", interval)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
