"""The image that ``./dev image`` builds of this checkout: once for all processes of a run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from network import require_network
from repository import ROOT

TAG = "localhost/multus:tested"


@pytest.fixture(scope="session")
def built_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OCI archive; skips where it cannot be built."""
    if os.geteuid() != 0:
        pytest.skip("the image needs root")
    missing = [each for each in ("mmdebstrap", "gcc", "git") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    target = folder / "multus-image.tar"
    with _locked(folder / "multus-image.lock"):
        if not target.exists():
            require_network()
            build(target)
    return target


def build(target: Path, tag: str = TAG) -> None:
    """Run the command that builds it."""
    argv = [sys.executable, "-m", "tools.image", "--tag", tag, "--out", str(target)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def image_root(built_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root file system that a container of the image has."""
    root = tmp_path_factory.mktemp("image")
    root.chmod(0o755)  # for users other than root
    unpack(built_image, root)
    return root


def unpack(image: Path, root: Path) -> None:
    """Unpack an image of one architecture, as a runtime does."""
    with tarfile.open(image) as archive:
        (entry,) = _json(archive, "index.json")["manifests"]
        for layer in _json(archive, _path(entry))["layers"]:
            blob = archive.extractfile(_path(layer))
            assert blob is not None
            # tar, since the modules of some versions refuse links that begin with a slash.
            subprocess.run(["tar", "-xz", "-C", root], input=blob.read(), check=True)


def configuration(image: Path) -> dict[str, Any]:
    """The configuration's object of an image of one architecture."""
    with tarfile.open(image) as archive:
        (entry,) = _json(archive, "index.json")["manifests"]
        return _json(archive, _path(_json(archive, _path(entry))["config"]))


def _path(descriptor: Mapping[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = archive.extractfile(name)
    assert file is not None
    return dict(json.load(file))
