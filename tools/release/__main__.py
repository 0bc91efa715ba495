"""``./dev release``: every distribution, checked as a user would use it, with SBOM and checksums.

From the committed sources alone. What is made is in ``dist/VERSION``; publishing it is another
step, which a person takes. See ``docs/releasing.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.release import bill, check, shims, version
from tools.release.build import (
    ANYWHERE,
    CHECKOUT,
    Target,
    Unbuildable,
    build_all,
    folders,
    unpack,
)

_ZIG = f"{sys.executable} -m ziglang cc -target"


def target(machine: str) -> Target:
    """The wheel with the static shim for *machine*, whatever C library it has."""
    names = f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"
    return Target(names, f"{_ZIG} {machine}-linux-musl")


TARGETS = (target("x86_64"), target("aarch64"), ANYWHERE)


def main(argv: Sequence[str]) -> int:
    """Make and check a release; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev release", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rehearsal",
        action="store_true",
        help="also when CHANGELOG.md has no date for this version yet, and with changes that are "
        "not committed, which are left out",
    )
    rehearsal = parser.parse_args(argv).rehearsal
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"dev: {time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)

    try:
        made = release(tell, rehearsal)
    except (version.Wrong, Unbuildable) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    tell(f"{'rehearsed' if rehearsal else 'ready'}: {made}")
    return 0


def release(tell: Callable[[str], None], rehearsal: bool) -> Path:
    """Make the release; returns the folder of its files. Raises at the first fault."""
    number = _ready(tell, rehearsal)
    os.environ.setdefault("SOURCE_DATE_EPOCH", _git("log", "-1", "--format=%ct").strip())
    made = CHECKOUT / "dist" / number
    with tempfile.TemporaryDirectory(prefix="multus-release-") as folder:
        work = Path(folder)
        first, second = work / "first", work / "second"
        for attempt in (first, second):
            source = work / f"source of {attempt.name}"
            _committed(source)
            tell(f"building sdists and wheels, {attempt.name} time")
            build_all(source, attempt / "files", folders(source), TARGETS, tell)
        files = first / "files"
        tell("comparing the two")
        check.same(check.sums(files), check.sums(second / "files"))
        tell("twine check, and the shims")
        check.metadata(sorted(files.iterdir()))
        shims.check(sorted(files.iterdir()))
        tell("installing multus[node] into a new virtual environment, with the folder as index")
        environment = work / "environment"
        check.installed(files, number, environment)
        _shown(tell, environment)
        tell("writing the SBOM and the checksums")
        check.without_pip(environment)
        bill.write(environment, number, files / f"multus-{number}.cdx.json")
        lines = [f"{digest}  {name}\n" for name, digest in check.sums(files).items()]
        (files / "SHA256SUMS").write_text("".join(lines))
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(files, made)
    return made


def _ready(tell: Callable[[str], None], rehearsal: bool) -> str:
    """The version, if everything stands ready for its release."""
    number = version.current()
    wrong = list(version.stale())
    if wrong:
        raise version.Wrong(f"{wrong[0]}: run './dev version {number}'")
    changed = _git("status", "--porcelain")
    if rehearsal:
        newest, when = version.section()
        if newest != number:
            version.released()  # raises
        if changed:
            tell("without your changes that are not committed")
    else:
        when = version.released()
        if changed:
            raise version.Wrong(f"not committed:\n{changed}")
    tell(f"multus {number}, {when}")
    return number


def _committed(folder: Path) -> None:
    """Unpack the committed sources into *folder*."""
    archive = ["git", "-C", str(CHECKOUT), "archive", "--format=tar", "HEAD"]
    unpack(subprocess.run(archive, stdout=subprocess.PIPE, check=True).stdout, folder)


def _shown(tell: Callable[[str], None], environment: Path) -> None:
    """Run the demo from the installed wheels, where network namespaces can be made."""
    if os.geteuid() != 0:
        raise version.Wrong("the demo needs root, at least of a user namespace")
    shim = environment / "bin" / "multus-shim"
    if platform.machine() in ("x86_64", "aarch64") and not shim.exists():
        raise version.Wrong(f"{shim.name} was not installed on {platform.machine()}")
    tell("the demo, from what was installed")
    check.demo(environment)


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
