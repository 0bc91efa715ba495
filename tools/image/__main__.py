"""``./dev image``: the container image of Multus, without a registry and without another image.

Debian's packages give the base, wheels what runs on it. The result is an OCI image in one file,
which podman, containerd and skopeo read. Nothing of the image's architecture is run, so it can be
another one than this machine's. The same commit and packages give the same digest.

The base is kept for a week, and wheels until something changes, below ~/.cache/multus/image.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tools.fresh import KEPT
from tools.image import debian, layers, oci, python, shim

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]

#: The modules whose change makes a kept base stale.
_MAKES_BASE = ("debian", "python", "layers")


class Architecture(NamedTuple):
    """An architecture, as Debian, Go and OCI name it; as ``uname -m``; and its C compiler."""

    name: str
    machine: str

    @property
    def compiler(self) -> str:
        native = self.machine == platform.machine()
        return "gcc" if native else f"{self.machine}-linux-gnu-gcc"


ARCHITECTURES = {
    each.name: each for each in (Architecture("amd64", "x86_64"), Architecture("arm64", "aarch64"))
}


def main(argv: Sequence[str]) -> int:
    """Build the image; the exit status."""
    version = version_of(CHECKOUT)
    native = next(e.name for e in ARCHITECTURES.values() if e.machine == platform.machine())
    parser = argparse.ArgumentParser(prog="./dev image", description=__doc__.splitlines()[0])
    parser.add_argument("--tag", default=f"localhost/multus:{version}", help="default: %(default)s")
    parser.add_argument(
        "--arch",
        action="append",
        choices=ARCHITECTURES,
        help=f"an architecture; several make an image for all of them; default: {native}",
    )
    out = f"dist/multus-{version}-image.tar"
    parser.add_argument("--out", type=Path, default=Path(out), help="default: %(default)s")
    arguments = parser.parse_args(argv)
    wanted = [ARCHITECTURES[each] for each in dict.fromkeys(arguments.arch or [native])]
    missing = [each.compiler for each in wanted if shutil.which(each.compiler) is None]
    if missing:
        packages = [f"gcc-{each.removesuffix('-gcc')}".replace("_", "-") for each in missing]
        sys.exit(f"dev: missing: {', '.join(packages)}. Run: sudo apt-get install {packages[0]}")
    digest = Builder(version, ARCHITECTURES[native]).build(wanted, arguments.tag, arguments.out)
    print(f"{arguments.tag}\n{digest}\n{arguments.out}")
    return 0


def version_of(checkout: Path) -> str:
    """The version, which stands in the core's source."""
    text = (checkout / "multus" / "__init__.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return str(version)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


class Base(NamedTuple):
    """Debian's part: its files, its layer, when its newest file is from, and headers for C."""

    root: Path
    headers: Path
    layer: oci.Layer
    epoch: int


class Builder:
    """Builds images of a checkout on a machine of an architecture."""

    def __init__(self, version: str, native: Architecture) -> None:
        self._version = version
        self._native = native
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._cache = Path(cache, "multus", "image")

    def build(self, wanted: Sequence[Architecture], tag: str, target: Path) -> str:
        """Write the image for all *wanted* architectures to *target*; returns its digest."""
        built = self._kept("wheels", contents(), partial(python.wheels, CHECKOUT))
        with tempfile.TemporaryDirectory(prefix="multus-image-", dir="/var/tmp") as folder:
            images = [self._image(each, built, Path(folder, each.name)) for each in wanted]
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = oci.write(target, tag, images)
            report(images)
            return digest

    def _image(self, architecture: Architecture, built: Path, folder: Path) -> oci.Image:
        base = self._base(architecture)
        interpreter = self._base(self._native)
        with step(f"libraries and the shim for {architecture.name}"):
            root = folder / "root"
            root.mkdir(parents=True)
            python.copy(interpreter.root, root)
            python.libraries(built, architecture.machine, root)
            target = root / python.PROGRAMS / "multus-shim"
            source = CHECKOUT / "shim" / "multus-shim.c"
            shim.build(source, base.headers, architecture.compiler, architecture.machine, target)
        with step("byte code, and the index of plugins"):
            python.compile_all(root, root, python.PACKAGES)
            python.make_index(root, base.epoch)
        with step("packing"):
            names = {"libraries": python.theirs(root), "multus": python.ours(root)}
            added = [
                layers.pack(root, each, folder / f"{name}.tar.gz", base.epoch)
                for name, each in names.items()
            ]
        created = created_at()
        config = configuration(self._version, created)
        return oci.Image(architecture.name, [base.layer, *added], config, created)

    def _base(self, architecture: Architecture) -> Base:
        recipe = b"".join(Path(HERE, f"{each}.py").read_bytes() for each in _MAKES_BASE)
        make = partial(self._make_base, architecture)
        key = f"{zlib.crc32(recipe):08x}"
        folder = self._kept(f"{debian.RELEASE}-{architecture.name}", key, make)
        kept = json.loads((folder / "kept.json").read_text())
        layer = oci.Layer(folder / "layer.tar.gz", layers.MEDIA_TYPE, kept["diff"], kept["size"])
        return Base(folder / "root", folder / "headers", layer, kept["epoch"])

    def _make_base(self, architecture: Architecture, folder: Path) -> None:
        root = folder / "root"
        root.mkdir()
        epoch = debian.make(architecture.name, root, folder / "headers")
        native = architecture == self._native
        interpreter = root if native else self._base(self._native).root
        python.compile_all(interpreter, root, debian.LIBRARY)
        layers.clamp(root, epoch)
        layer = layers.pack(root, layers.below(root), folder / "layer.tar.gz", epoch)
        kept = {"diff": layer.diff_id, "size": layer.size, "epoch": epoch}
        (folder / "kept.json").write_text(json.dumps(kept))

    def _kept(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """The folder that *make* has filled: now, or less than a week ago for the same *key*."""
        folder = self._cache / f"{name}-{key}"
        self._cache.mkdir(parents=True, exist_ok=True)
        with open(self._cache / f".{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once make it once
            if not folder.exists() or time.time() - folder.stat().st_mtime >= KEPT:
                with step(f"{name}, kept in {folder}"):
                    self._replace(name, folder, make)
        return folder

    def _replace(self, name: str, folder: Path, make: Callable[[Path], None]) -> None:
        """Let *make* fill *folder*: whole or not at all, for it may be interrupted."""
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._cache) as unfinished:
            made = Path(unfinished, "folder")
            made.mkdir()
            make(made)
            for old in self._cache.glob(f"{name}-*"):
                old.rename(Path(unfinished, old.name))
            made.rename(folder)


def contents() -> str:
    """A checksum of the files of which wheels are made."""
    parts = ("multus", "plugins", "shim", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md")
    names = git("ls-files", "-coz", "--exclude-standard", "--", *parts).split("\0")
    total = 0
    for path in (CHECKOUT / name for name in sorted(filter(None, names))):
        if path.is_file():
            total = zlib.crc32(str(path).encode() + b"\0" + path.read_bytes(), total)
    return f"{total:08x}"


def created_at() -> str:
    """When the image says it was made: when the commit was, unless SOURCE_DATE_EPOCH is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    return datetime.fromtimestamp(int(epoch), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def configuration(version: str, created: str) -> dict[str, Any]:
    """How a container of the image is started, and the labels of OCI's annotations.

    Without a user in the manifest it has no rights: on a node, the manifest names root.
    """
    changed = git("status", "--porcelain").strip()
    revision = {} if changed else {"revision": git("rev-parse", "HEAD").strip()}
    labels = {
        "title": "multus",
        "description": "A CNI meta-plugin: several networks for one pod",
        "licenses": "Apache-2.0",
        "version": version,
        "created": created,
        **revision,
    }
    return {
        "User": "65532:65532",
        "Env": [f"PATH={PATH}", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": ["multus"],
        "Cmd": ["daemon"],
        "WorkingDir": "/",
        "Labels": {f"org.opencontainers.image.{key}": value for key, value in labels.items()},
    }


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# --- what a person sees ---------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done now, and how long it took."""
    say(f"{what} ...")
    start = time.monotonic()
    yield
    say(f"    {time.monotonic() - start:.1f} s")


def report(images: Sequence[oci.Image]) -> None:
    """Print the sizes of the layers, packed and unpacked."""
    for image in images:
        rows = list(zip(("Debian", "libraries", "Multus"), image.layers, strict=True))
        print(f"{image.architecture:10} packed   unpacked")
        for name, layer in rows:
            print(f"  {name:10} {_mb(layer.path.stat().st_size)}  {_mb(layer.size)}")
        packed = sum(layer.path.stat().st_size for _, layer in rows)
        print(f"  {'all':10} {_mb(packed)}  {_mb(sum(layer.size for _, layer in rows))}")


def _mb(size: int) -> str:
    return f"{size / 1e6:5.1f} MB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
