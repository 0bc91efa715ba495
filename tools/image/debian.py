"""The image's base: files of Debian's packages, of which none is installed.

mmdebstrap unpacks the packages and runs none of their scripts. So nothing of the architecture is
run, and any machine makes the base of any architecture. What scripts would do, and the image needs,
is done here: links, users, and the names of the packages for scanners.
"""

from __future__ import annotations

import fnmatch
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.fresh import DEBIAN, mirror_of
from tools.image.layers import below

RELEASE = "trixie"
PYTHON = "3.13"
LIBRARY = f"usr/lib/python{PYTHON}"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

#: base-files is there for /etc/os-release, which scanners read. iptables is for rules that netlink
#: alone cannot write. busybox is chroot, which starts the node's binaries, and the shell with the
#: mount and the sleep that the manifests call.
PACKAGES = ("base-files", "busybox-static", "iptables", f"python{PYTHON}")
_APPLETS = ("bin/cat", "bin/ls", "bin/mount", "bin/ps", "bin/sh", "bin/sleep", "sbin/chroot")

#: What the shim is compiled with: the C library that becomes part of it, and the kernel's headers.
_HEADERS = ("musl-dev", "linux-libc-dev")

#: Dependencies for modules that nothing here imports.
_UNUSED_PACKAGES = (
    "debconf",
    "libdb5.3t64",
    "libncursesw6",
    "libreadline8t64",
    "libsqlite3-0",
    "libtinfo6",
    "mawk",
    "openssl-provider-legacy",
    "readline-common",
    "tzdata",
)
_UNUSED_MODULES = (
    "ensurepip",
    "idlelib",
    "pydoc_data",
    "sqlite3",
    "curses",
    "dbm/gnu.py",
    "dbm/ndbm.py",
    "test",
    "tkinter",
    "turtle*",
    "lib-dynload/_ctypes_test.*",
    "lib-dynload/_curses*",
    "lib-dynload/_dbm.*",
    "lib-dynload/_sqlite3.*",
    "lib-dynload/_test*",
    "lib-dynload/readline.*",
    "lib-dynload/xx*",
)

#: What the base is made of, and what it is not: patterns in which * also stands for slashes.
_WANTED = (
    "etc/ld.so.conf.d/*",
    "etc/mime.types",
    "etc/os-release",
    "etc/protocols",
    f"etc/python{PYTHON}/*",
    "etc/services",
    "usr/bin/busybox",
    f"usr/bin/python{PYTHON}",
    "usr/lib/*",
    "usr/lib64/*",
    "usr/sbin/*tables*",
    "usr/share/common-licenses/*",
    "usr/share/doc/*/copyright",
    "bin",
    "lib",
    "lib64",
    "sbin",
)
_UNWANTED = (
    "usr/lib/*/gconv/*",
    "usr/lib/*/perl*",
    "usr/lib/*/audit/*",
    *(f"usr/lib/python{PYTHON}/{each}*" for each in _UNUSED_MODULES),
)

#: Nobody of these can log in. 65532 is who runs what needs no rights.
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "multus:x:65532:65532:multus:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\nmultus:x:65532:\n",
}
_FOLDERS = ("dev", "proc", "root", "run", "sys", "tmp", "var/lib")


def make(architecture: str, root: Path, headers: Path) -> int:
    """Make the base for the *architecture* in *root*, and unpack what C needs into *headers*.

    Returns when the newest file of a package was written, in seconds: the time of what is added.
    """
    with tempfile.TemporaryDirectory(prefix="multus-image-", dir="/var/tmp") as folder:
        unpacked = Path(folder, "root")
        _unpack(architecture, unpacked)
        packages = unpacked / "var/cache/apt/archives"
        for name in _HEADERS:
            (package,) = _named(packages, name)
            subprocess.run(["dpkg-deb", "--extract", package, headers], check=True)
            package.unlink()
        for name in _UNUSED_PACKAGES:
            for package in _named(packages, name):
                _remove(unpacked, package)
                package.unlink()
        files = list(_chosen(unpacked))
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(unpacked / name, root / name, follow_symlinks=False)
        newest = max(int((root / name).lstat().st_mtime) for name in files)
        _finish(root, sorted(packages.glob("*.deb")))
        return newest


def _unpack(architecture: str, root: Path) -> None:
    download = 'cd "$1/var/cache/apt/archives" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get'
    download = f"{download} -qq download {' '.join(_HEADERS)}"
    command = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=extract",
        f"--architectures={architecture}",
        f"--include={','.join(PACKAGES)}",
        f"--keyring={KEYRING}",
        '--aptopt=APT::Sandbox::User "root"',
        f"--extract-hook={download}",
        "--skip=check/signed-by,cleanup/apt,cleanup/tmp,cleanup/reproducible",
        RELEASE,
        str(root),
        mirror_of(DEBIAN),
    ]
    done = subprocess.run(
        [each for each in command if each], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        said = done.stdout.decode(errors="replace").splitlines()
        raise SystemExit("\n".join(["dev: mmdebstrap failed:", *said[-10:]]))


def _named(packages: Path, name: str) -> list[Path]:
    """The file of a package, which may be missing: a newer one need not depend on it any more."""
    return list(packages.glob(f"{name}_*.deb"))


def _remove(root: Path, package: Path) -> None:
    for name in _files(package):
        if not name.startswith("usr/share/doc/"):
            (root / name).unlink(missing_ok=True)


def _files(package: Path) -> Iterator[str]:
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    data = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if not member.isdir():
                yield os.path.normpath(member.name)


def _chosen(root: Path) -> Iterator[str]:
    for name in below(root):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            continue
        if _matches(name, _WANTED) and not _matches(name, _UNWANTED):
            yield name


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, each) for each in patterns)


def _finish(root: Path, packages: Sequence[Path]) -> None:
    """Do what the packages' scripts would do."""
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    (root / "var/run").symlink_to("/run")  # runtimes name namespaces by this path
    (root / "usr/bin/python3").symlink_to(f"python{PYTHON}")
    for name in _APPLETS:
        (root / "usr" / name).symlink_to("/usr/bin/busybox")
    for program in (root / "usr/sbin").glob("*-nft"):
        program.with_name(program.name.removesuffix("-nft")).symlink_to(program.name)
    for program in (root / "usr/sbin").glob("*tables-nft-*"):
        program.with_name(program.name.replace("-nft", "")).symlink_to(program.name)
    known = root / "var/lib/dpkg/status.d"
    known.mkdir(parents=True)
    for package in packages:
        command = ["dpkg-deb", "--field", str(package)]
        fields = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        (known / package.name.partition("_")[0]).write_bytes(fields)
