"""Diagnosis of an installation, without importing PyTorch: ``litmotif doctor``."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata, version

import platformdirs
from jsonargparse import Namespace
from rich.markup import escape

from .. import configs
from ..package_paths import HOME, package_paths
from ..tables import print_sections
from .frame import Command

LIBRARIES = ("litmotif", "torch", "lightning", "torchmetrics", "jsonargparse", "tensorboard", "wandb", "minigrid")
INSTALLED = "[green]installed[/green]"


class Doctor(Command):
    """Prints versions, origins, folders, accelerators and what each extra lacks."""

    def run(self, options: Namespace) -> None:
        """Print the findings."""
        versions = {library: installed(library) or "[red]not installed[/red]" for library in LIBRARIES}
        cache = os.environ.get("LITMOTIF_CACHE") or platformdirs.user_cache_dir("litmotif", appauthor=False)
        folders = {"configs": configs.folder(), "cache": cache, "runs": "runs, below the current folder"}
        origins = {
            name: f"{escape(str(path))} ({'ours' if path == HOME / name else '[red]not ours[/red]'})"
            for name, path in package_paths().items()
        }
        lacking = {
            name: rf"needs {', '.join(missing)}: pip install 'litmotif\[{name}]'" if missing else INSTALLED
            for name, missing in extras().items()
        }
        python = {"python": f"{platform.python_version()} ({sys.executable})"}
        places = {name: escape(str(folder)) for name, folder in folders.items()}
        found = {"versions": python | versions, "origins": origins, "folders": places}
        print_sections(found | {"accelerators": accelerators(), "extras": lacking})


def installed(distribution: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """Distributions that each extra still lacks here."""
    if installed("litmotif") is None:
        return {}
    about = metadata("litmotif")
    missing: dict[str, list[str]] = {name: [] for name in about.get_all("Provides-Extra") or [] if name != "all"}
    for requirement in about.get_all("Requires-Dist") or []:
        found = re.match(r"""([\w.-]+).*extra\s*==\s*['"]([^'"]+)['"]""", requirement)
        if found and found[2] in missing and installed(found[1]) is None:
            missing[found[2]].append(found[1])
    return missing


def accelerators() -> dict[str, str]:
    """Devices to compute on: asked of the system, since PyTorch takes seconds to import."""
    found = {"cpu": platform.processor() or platform.machine()}
    if smi := shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            listed = f"GPU of unknown state: {error}"
        lines = [line for line in listed.splitlines() if line.startswith("GPU")]
        found |= {f"cuda:{number}": escape(line) for number, line in enumerate(lines)}
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found["mps"] = "Apple silicon"
    return found
