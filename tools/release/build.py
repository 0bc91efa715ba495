"""Build the distributions: the sdist of each, and its wheels from the sdist alone.

``./dev bench``, tests of what is installed and ``./dev release`` build by this module, so what they
use is what a user gets. The sources are copied first, since setuptools would add what an older
build left in ``build/``, and unpacked sdists have no repository around them.

The bytes depend on the sources, the libraries that build, and ``SOURCE_DATE_EPOCH`` alone: files
get that time, and modes that no umask changes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal, NamedTuple

import build

_Kind = Literal["sdist", "wheel"]

CHECKOUT = Path(__file__).resolve().parents[2]

#: The core's folder, among those of the plugins.
CORE = "."
#: Unpacks as the user who runs it; the folder follows.
_UNTAR = ("tar", "--no-same-owner", "-C")


class Unbuildable(Exception):
    """A distribution that its build backend cannot build."""


class Target(NamedTuple):
    """A wheel of the core: the platform in its name, and the compiler of its shim."""

    platform: str
    compiler: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What ``shim/packaging.py`` reads."""
        compiler = {"CC": self.compiler} if self.compiler else {}
        return {"MULTUS_SHIM_PLATFORM": self.platform, **compiler}


#: For this machine, with the shim if a compiler is installed.
HERE = Target("")
#: For every machine, without the shim.
ANYWHERE = Target("any")


def folders(source: Path) -> list[str]:
    """The folders of the distributions in *source*: the core's, then the plugins'."""
    plugins = sorted(source.glob("plugins/*/setup.cfg"))
    return [CORE, *(str(path.parent.relative_to(source)) for path in plugins)]


def working_tree(folder: Path, checkout: Path = CHECKOUT) -> None:
    """Copy the files that git does not ignore to *folder*: as they are, committed or not."""
    listed = ["git", "-C", str(checkout), "ls-files", "-coz", "--exclude-standard"]
    names = subprocess.run(listed, stdout=subprocess.PIPE, check=True).stdout.split(b"\0")
    # A file that was deleted and not yet committed is still listed.
    there = [each for each in names if each and os.path.lexists(checkout / os.fsdecode(each))]
    pack = ["tar", "-C", str(checkout), "--null", "--no-recursion", "-T", "-", "-cf", "-"]
    packed = subprocess.run(pack, input=b"\0".join(there), stdout=subprocess.PIPE, check=True)
    unpack(packed.stdout, folder)


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack a tar archive of sources to *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*_UNTAR, str(folder), "-xf", "-"], input=archive, check=True)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def build_all(
    source: Path,
    into: Path,
    chosen: Iterable[str],
    targets: Sequence[Target] = (HERE,),
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Build the distributions in the folders *chosen* of *source*; the files that were made.

    A wheel of the core is made for each of *targets*. *tell* gets a line for each distribution.
    Raises `Unbuildable` with the end of the build backend's output.
    """
    into.mkdir(parents=True, exist_ok=True)
    names = list(chosen)
    made: list[Path] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = {
            pool.submit(_build, source / each, into, targets if each == CORE else (HERE,)): (
                "multus" if each == CORE else Path(each).name
            )
            for each in names
        }
        try:
            for number, task in enumerate(as_completed(tasks), 1):
                made += task.result()
                tell(f"{number}/{len(names)}  {tasks[task]}")
        except Unbuildable:
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(made)


def _build(folder: Path, into: Path, targets: Sequence[Target]) -> list[Path]:
    """Build the sdist of the distribution in *folder*, and from it a wheel for each target."""
    sdist = _run_hook(folder, "sdist", into, {})
    _repack(sdist)
    wheels = []
    for target in targets:
        # A folder for each wheel: the build folder of one would get into the next.
        with tempfile.TemporaryDirectory(prefix="multus-sdist-") as empty:
            unpacked = _unpacked(sdist, Path(empty))
            wheels.append(_run_hook(unpacked, "wheel", into, target.environment))
    return [sdist, *wheels]


def _unpacked(sdist: Path, empty: Path) -> Path:
    subprocess.run([*_UNTAR, str(empty), "-xf", str(sdist)], check=True)
    (only,) = empty.iterdir()
    return only


def _repack(sdist: Path) -> None:
    """Write *sdist* again without the names, times and order of the machine that made it."""
    time = os.environ.get("SOURCE_DATE_EPOCH")
    if time is None:
        return
    nobody = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", f"--mtime=@{time}"]
    with tempfile.TemporaryDirectory(prefix="multus-sdist-") as empty:
        folder = _unpacked(sdist, Path(empty))
        pack = ["tar", "-C", empty, *nobody, "--format=ustar", "-cf", "-", folder.name]
        packed = subprocess.run(pack, stdout=subprocess.PIPE, check=True).stdout
    sdist.write_bytes(gzip.compress(packed, mtime=0))


def _run_hook(folder: Path, kind: _Kind, into: Path, environment: Mapping[str, str]) -> Path:
    """Let the build backend make the *kind*; raises with its output."""
    said = ""

    def runner(
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        nonlocal said
        done = subprocess.run(
            cmd,
            cwd=cwd,
            env={**os.environ, **environment, **(extra_environ or {})},
            umask=0o022,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = done.stdout
        done.check_returncode()

    try:
        return Path(build.ProjectBuilder(folder, runner=runner).build(kind, into))
    except (build.BuildException, build.BuildBackendException) as error:
        end = "\n".join(said.splitlines()[-20:])
        raise Unbuildable(f"the {kind} of {folder.name} cannot be built: {error}\n{end}") from error


def main(argv: Sequence[str]) -> int:
    """``./dev build``: of the working tree, committed or not; prints the paths of the files."""
    parser = argparse.ArgumentParser(prog="./dev build", description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "folders", nargs="*", help="such as plugins/multus-networks; all by default"
    )
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="multus-source-") as copy:
        working_tree(Path(copy))
        chosen = arguments.folders or folders(Path(copy))
        try:
            made = build_all(Path(copy), arguments.into.resolve(), chosen, tell=_tell)
        except Unbuildable as error:
            print(f"dev: {error}", file=sys.stderr)
            return 1
    for path in made:
        print(path)
    return 0


def _tell(text: str) -> None:
    print(f"dev: built {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
