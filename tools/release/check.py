"""Whether the files of a release are what an index takes, and what a user can install and run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.release.version import Wrong


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file in *folder*, by its name."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(one: Mapping[str, str], other: Mapping[str, str]) -> None:
    """Raise unless two builds made the same files."""
    differ = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    if differ:
        raise Wrong(f"built twice, these differ: {', '.join(differ)}")


def metadata(files: Sequence[Path]) -> None:
    """Raise unless an index would take the metadata and show the description."""
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)])


def installed(index: Path, version: str, environment: Path) -> None:
    """Install ``multus[node]`` into a new virtual environment; raises unless all of it is there.

    Libraries come from where pip is set up to look; what is ours only from the folder *index*.
    """
    venv.create(environment, with_pip=True)
    report = environment / "report.json"
    options = ["--find-links", str(index), "--no-cache-dir", "--report", str(report)]
    python = str(environment / "bin/python")
    _run([python, "-m", "pip", "install", "-q", *options, f"multus[node]=={version}"])
    taken = json.loads(report.read_text())["install"]
    ours = {each["metadata"]["name"]: each["download_info"]["url"] for each in taken}
    ours = {name: url for name, url in ours.items() if name.startswith("multus")}
    strange = [url for url in ours.values() if not url.startswith(index.as_uri())]
    if strange:
        raise Wrong(f"pip took these from elsewhere: {', '.join(strange)}")
    built = {path.name.split("-")[0].replace("_", "-") for path in index.glob("*.whl")}
    if built != set(ours):
        raise Wrong(f"multus[node] does not install {', '.join(sorted(built - set(ours)))}")
    program = str(environment / "bin/multus")
    found = json.loads(_run([program, "plugins", "--json"]))
    if found["broken"]:
        raise Wrong(f"these plugins are broken: {found['broken']}")


def demo(environment: Path) -> None:
    """Attach a pod's networks with what was installed; raises when that leaves something."""
    _run([str(environment / "bin/multus"), "demo"])


def without_pip(environment: Path) -> None:
    """Uninstall what a virtual environment has from its making, and what Multus does not need."""
    python = str(environment / "bin/python")
    _run([python, "-m", "pip", "uninstall", "-q", "-y", "setuptools", "pip"])


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise Wrong(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{end}")
    return done.stdout
