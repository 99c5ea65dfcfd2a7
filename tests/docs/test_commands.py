"""Commands of the READMEs: each is one that the parser takes, with configs and keys that exist; snippets compile."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from lit_models.cli import OWN, RUNS, configs, main
from lit_models.cli.trust import OURS
from litmotif.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("lit_models/*/README.md")])
PAGES = [page for page in PAGES if page.name not in ("CHANGELOG.md", "NEGATIVE.md")]
KNOWN = ("-c", "--ckpt_path", "--print_config")


def blocks(language):
    """The code of each page in this language."""
    for page in PAGES:
        for told, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            if told == language:
                yield page.relative_to(ROOT).as_posix(), text


def commands():
    """Each ``litmotif ...`` once, with the page that has it."""
    found = {}
    for page, text in [*blocks(""), *blocks("bash"), *blocks("sh")]:
        for line in text.replace("\\\n", " ").splitlines():
            if re.match(r"\s*(pip .*&& )?litmotif ", line):
                words = shlex.split(line, comments=True)
                found.setdefault(tuple(words[words.index("litmotif") + 1 :]), page)
    return {words: page for words, page in found.items() if words}


COMMANDS = commands()


def test_the_pages_have_commands():
    assert len(COMMANDS) > 40
    assert {words[0] for words in COMMANDS} >= {*RUNS} - {"validate"}


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in OWN], ids=" ".join)
def test_a_command_of_our_own_is_taken(words):
    module = import_module(f"lit_models.cli.commands.{words[0]}")
    try:
        options = getattr(module, words[0].capitalize())().parse(list(words[1:]))
    except FileNotFoundError as error:  # what `generate` is asked for depends on the run
        if words[0] != "generate" or "has no run yet" not in str(error):
            raise
        options = {"config": configs.split(list(words[1:]))[0]}
    for name in options.get("config", []):
        assert configs.find(name) if words[0] != "series" else name in [*configs.names(), *configs.series_names()]


def options(words):
    """What a run is asked for besides its configs and its checkpoint."""
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in KNOWN]


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in RUNS and not options(w)], ids=" ".join)
def test_the_configs_of_a_run_exist_and_fit_together(words):
    requested, _ = configs.requested(list(words[1:]))
    configs.require_one_experiment([configs.check(configs.find(name)) for name in requested])


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in RUNS and options(w)], ids=" ".join)
def test_the_options_of_a_run_are_taken(words, in_tmp, capsys):
    assert main([*words, "--print_config"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("page", "text"), [*blocks("python")], ids=lambda value: value.partition("\n")[0][:40])
def test_the_imports_of_a_snippet_exist(page, text):
    """Every import resolves, and every name that is taken from a package; those of extras may be absent."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                pytest.importorskip(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            try:
                ours = node.module.partition(".")[0] in OURS
                package = import_module(node.module) if ours else pytest.importorskip(node.module)
            except MissingExtraError as error:
                pytest.skip(str(error))
            assert all(hasattr(package, alias.name) for alias in node.names), page
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "litmotif":
            assert getattr(import_module("litmotif"), node.attr, None) is not None, (page, node.attr)
