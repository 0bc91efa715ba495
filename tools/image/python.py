"""The image's own part, /usr/local: Multus, its plugins, the libraries that they need, the shim.

pip runs outside of the image, and takes wheels for the image's Python and architecture. What needs
that Python itself (byte code, the index of plugins) is the same for every architecture, so a base
of this machine's architecture makes it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.image.debian import PYTHON
from tools.image.layers import below, clamp
from tools.release import build

#: The folder in which Debian's Python finds what is not from Debian; relative to the root.
PACKAGES = f"usr/local/lib/python{PYTHON}/dist-packages"
PROGRAMS = "usr/local/bin"
_EXTRAS = "kube,certificate,netlink,daemon,cli"

#: An older glibc than the base's 2.41 is needed: wheels name the oldest with which they work.
_GLIBCS = range(41, 16, -1)

#: What pip writes about how it was called, and the kit for tests.
_UNUSED = (
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "multus/testing",
    "bin",
)

_PROGRAM = f"""\
#!/usr/bin/python{PYTHON}
from multus.__main__ import program

program()
"""
_INDEX = "from multus.registry.index import discover\n\ndiscover()\n"


def wheels(checkout: Path, folder: Path) -> None:
    """Build the wheels of the core, without a shim, and of every plugin into *folder*."""
    with tempfile.TemporaryDirectory(prefix="multus-image-", dir="/var/tmp") as copy:
        source = Path(copy)
        build.working_tree(source, checkout)
        try:
            build.build_all(source, folder, build.folders(source), (build.ANYWHERE,))
        except build.Unbuildable as error:
            raise SystemExit(f"dev: {error}") from error


def libraries(built: Path, machine: str, root: Path) -> None:
    """Install the wheels in *built*, and what they require for the *machine*, below *root*.

    *machine* is as in ``uname -m``.
    """
    target = root / PACKAGES
    platforms = [f"--platform=manylinux_2_{each}_{machine}" for each in _GLIBCS]
    ours = sorted(built.glob("*.whl"))
    pip(
        "install",
        "--quiet",
        "--no-compile",
        "--only-binary=:all:",
        f"--target={target}",
        f"--python-version={PYTHON}",
        "--implementation=cp",
        f"--platform=manylinux2014_{machine}",
        *platforms,
        *(f"{each}[{_EXTRAS}]" if _is_core(each) else str(each) for each in ours),
    )
    for pattern in _UNUSED:
        for path in list(target.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    program = root / PROGRAMS / "multus"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_PROGRAM)
    program.chmod(0o755)


def pip(*arguments: str) -> None:
    """Run pip; ends this program with what it says when it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        said = done.stdout.decode(errors="replace").splitlines()
        raise SystemExit("\n".join(["dev: pip failed:", *said[-15:]]))


def _is_core(wheel: Path) -> bool:
    return wheel.name.startswith("multus-")


def compile_all(interpreter: Path, root: Path, folder: str) -> None:
    """Compile the modules in *folder* of *root*, with the Python of the root *interpreter*.

    Byte code is not compared with its source at every start: nobody changes an image's files.
    """
    if interpreter == root:
        argv = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"/{folder}"]
        run(root, [f"/usr/bin/python{PYTHON}", *argv])
        return
    with tempfile.TemporaryDirectory(prefix="multus-image-", dir="/var/tmp") as name:
        # Modules in C have the architecture in their names, so both may be in one folder.
        workshop = Path(name)
        copy(interpreter, workshop)
        copy(root / folder, workshop / folder)
        compile_all(workshop, workshop, folder)
        for module in (root / folder).rglob("*.py"):
            for code in _code_of(workshop / module.relative_to(root)):
                into = root / code.relative_to(workshop)
                into.parent.mkdir(exist_ok=True)
                shutil.copy2(code, into)


def copy(root: Path, into: Path) -> None:
    """Copy all of *root* to the folder *into*, over what is there."""
    command = ["cp", "-a", "--remove-destination", f"{root}/.", str(into)]
    subprocess.run(command, check=True)


def _code_of(module: Path) -> Iterator[Path]:
    return module.parent.glob(f"__pycache__/{module.stem}.cpython-*.pyc")


def make_index(root: Path, epoch: int) -> None:
    """Write the index of plugins below *root*; it holds modification times, *epoch* at the latest.

    The program reads it, so a program in the same folder has to write it.
    """
    script = root / PROGRAMS / "multus-index"
    script.write_text(_INDEX)
    clamp(root, epoch)
    run(root, [f"/usr/bin/python{PYTHON}", f"/{PROGRAMS}/{script.name}"])
    script.unlink()
    clamp(root, epoch)


def run(root: Path, argv: Sequence[str]) -> str:
    """What a program in *root* prints; ends this program with its errors when it fails."""
    environ = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin", **_STEADY}
    command = ["chroot", str(root), *argv]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"dev: {' '.join(argv)} failed in the image:\n{done.stderr[-2000:]}")
    return done.stdout


_STEADY: Mapping[str, str] = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def ours(root: Path) -> Iterator[str]:
    """The files of /usr/local below *root* that change with every version of Multus."""
    return (name for name in _local(root) if _is_ours(name))


def theirs(root: Path) -> Iterator[str]:
    """The other files of /usr/local: libraries."""
    return (name for name in _local(root) if not _is_ours(name))


def _local(root: Path) -> Iterator[str]:
    for name in below(root / "usr/local"):
        if not (root / "usr/local" / name).is_dir():
            yield f"usr/local/{name}"


def _is_ours(name: str) -> bool:
    return name.startswith((f"{PACKAGES}/multus", f"{PROGRAMS}/"))
