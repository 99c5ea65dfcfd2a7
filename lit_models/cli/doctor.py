"""``litmotif doctor``: what this machine has, without importing PyTorch."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata, version

import platformdirs
from rich.markup import escape
from rich.table import Table

from . import configs
from .console import console
from .origins import HOME, origins

LIBRARIES = ("litmotif", "torch", "lightning", "torchmetrics", "jsonargparse", "tensorboard", "wandb", "minigrid")


def installed(distribution: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """What each extra still lacks here."""
    try:
        about = metadata("litmotif")
    except PackageNotFoundError:
        return {}
    missing: dict[str, list[str]] = {name: [] for name in about.get_all("Provides-Extra") or [] if name != "all"}
    for requirement in about.get_all("Requires-Dist") or []:
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", requirement)
        library = re.match(r"[\w.-]+", requirement)
        if extra and library and extra[1] in missing and installed(library[0]) is None:
            missing[extra[1]].append(library[0])
    return missing


def accelerators() -> list[str]:
    """What could be computed on: asked of the system, since PyTorch takes seconds to import."""
    found = [f"cpu ({platform.processor() or platform.machine()})"]
    if smi := shutil.which("nvidia-smi"):
        found += [f"cuda ({line})" for line in _output([smi, "-L"]).splitlines() if line.startswith("GPU")]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("mps (Apple silicon)")
    return found


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"GPU of unknown state: {error}"


def examine() -> int:
    """Print the findings."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("[cyan]versions[/cyan]", "")
    table.add_row("  python", f"{platform.python_version()} ({sys.executable})")
    for library in LIBRARIES:
        table.add_row(f"  {library}", installed(library) or "[red]not installed[/red]")
    table.add_row("[cyan]origins[/cyan]", "")
    for name, place in origins().items():
        verdict = "ours" if place == HOME / name else "[red]not ours[/red]"
        table.add_row(f"  {name}", f"{escape(str(place))} ({verdict})")
    table.add_row("[cyan]folders[/cyan]", "")
    cache = os.environ.get("LITMOTIF_CACHE") or platformdirs.user_cache_dir("litmotif", appauthor=False)
    for name, folder in {"configs": configs.folder(), "cache": cache, "runs": "runs, below the current folder"}.items():
        table.add_row(f"  {name}", escape(str(folder)))
    table.add_row("[cyan]accelerators[/cyan]", "")
    for device in accelerators():
        table.add_row("", device)
    table.add_row("[cyan]extras[/cyan]", "")
    for name, missing in extras().items():
        remedy = rf"needs {', '.join(missing)}: pip install 'litmotif\[{name}]'"
        table.add_row(f"  {name}", remedy if missing else "[green]installed[/green]")
    console().print(table)
    return 0
