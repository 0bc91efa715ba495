"""``./dev fresh``: ``./dev demo`` and ``./dev test`` on a release that has only git and python3.

A machine on which somebody works has a compiler, procps and much else. What ``./dev`` forgets to
install shows only where nothing is installed yet. So debootstrap makes a minimal root, a clone of
this checkout goes into it, and the commands run there in mount, process, IPC and host name
namespaces of their own. The network is the machine's: packages are installed during the run.

The minimal root is kept for a week, as an archive under ``~/.cache``. What ``./dev`` installs is
never kept: each run unpacks the archive into a folder of its own and removes the folder at its end.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSIDE = "/srv/multus"  # the clone, in the root: where an ordinary user may read it
INCLUDED = "git,python3"
KEPT = 7 * 24 * 3600  # seconds
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Settings of this machine without which nothing can be installed on it.
_SETTINGS = re.compile(
    r"PIP_.*|(.*_)?proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|CI|TERM|LANG", re.I
)
_PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip/*", "~/.pip/pip.conf", "~/.config/pip/*")
_LOCAL_PATH = re.compile(r"(?:^|[\s=,])(/[^\s'\",]+)")
_LOCAL_INDEX = re.compile(r"file://(/[^\s'\",]+)")
_APT = re.compile(r"Acquire::(https?|ftp|Check-|Retries|ForceIPv)")

#: Runs in the new namespaces: makes the root the only one, and starts the command in the clone.
#: /dev and /sys (with its cgroups) are the machine's; /run and /dev/shm are new and empty.
_ENTER = """\
set -e
root=$1 folders=$2 inside=$3
shift 3
mount --bind "$root" "$root"
for folder in $folders; do
    mkdir -p "$root$folder"
    mount -o bind,ro "$folder" "$root$folder"
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cd "$root"
pivot_root . .
umount -l .
cd "$inside"
exec "$@"
"""


class Distribution(NamedTuple):
    """How debootstrap makes a release of it."""

    name: str
    script: str
    keyring: str
    components: str
    tested: bool  # whether ./dev test is meant to pass there, beside ./dev demo


DEBIAN = Distribution("Debian", "sid", "debian-archive-keyring", "main", True)
UBUNTU = Distribution("Ubuntu", "gutsy", "ubuntu-archive-keyring", "main,universe", False)
RELEASES = {"bookworm": DEBIAN, "trixie": DEBIAN, "noble": UBUNTU, "resolute": UBUNTU}


def main(argv: Sequence[str]) -> int:
    """Run the commands on a release; the exit status of the first that fails, else 0."""
    parser = argparse.ArgumentParser(prog="./dev fresh", description=__doc__.splitlines()[0])
    parser.add_argument("release", choices=RELEASES)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="for ./dev test")
    arguments = parser.parse_args(argv)
    release = arguments.release
    archive = minimal_root(release)
    # Not below /tmp, which may be in memory.
    with tempfile.TemporaryDirectory(prefix=f"multus-{release}-", dir="/var/tmp") as root:
        run("tar", "-xpf", archive, "-C", root)
        clone(root + INSIDE)
        folders = hand_in(root)
        commands = [["./dev", "demo"]]
        if RELEASES[release].tested:
            commands.append(["./dev", "test", *arguments.options])
        for command in commands:
            say(f"{release}: {' '.join(command)}")
            status = inside(root, folders, command)
            if status:
                return status
    return 0


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def clone(folder: str) -> None:
    """Make *folder* a clone of this checkout, as a newcomer has one."""
    changes = ["git", "-C", CHECKOUT, "status", "--porcelain", "--untracked-files=no"]
    if subprocess.run(changes, stdout=subprocess.PIPE, check=True).stdout:
        say("the clone is without your changes that are not committed")
    run("git", "clone", "--quiet", CHECKOUT, folder)


# --- the minimal root -----------------------------------------------------------------------------


def minimal_root(release: str) -> str:
    """The path of an archive with the release's minimal root; made unless a recent one is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.path.join(cache, "multus", f"{release}.tar")
    if os.path.exists(path) and time.time() - os.path.getmtime(path) < KEPT:
        return path
    say(f"making a minimal {release}: {path}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"multus-{release}-", dir="/var/tmp") as folder:
        root = os.path.join(folder, "root")
        with open(os.path.join(folder, "log"), "w+") as log:
            done = subprocess.run(debootstrap(release, root), stdout=log, stderr=log, check=False)
            if done.returncode:
                log.seek(0)
                sys.exit(f"dev: debootstrap failed:\n{''.join(log.readlines()[-10:])}")
        shutil.rmtree(f"{root}/var/cache/apt/archives", ignore_errors=True)
        run("tar", "-cf", f"{path}.new", "--one-file-system", "-C", root, ".")
    os.replace(f"{path}.new", path)
    return path


def debootstrap(release: str, root: str) -> list[str]:
    """The command that makes *root*; the archive is the one that this machine uses itself."""
    distribution = RELEASES[release]
    mirror = mirror_of(distribution)
    # A release may be newer than this machine's debootstrap, which has no script of its name then.
    script = f"/usr/share/debootstrap/scripts/{distribution.script}"
    return [
        "debootstrap",
        "--variant=minbase",
        f"--include={INCLUDED}",
        f"--components={distribution.components}",
        f"--keyring=/usr/share/keyrings/{distribution.keyring}.gpg",
        release,
        root,
        mirror,
        script,
    ]


def mirror_of(distribution: Distribution) -> str:
    """The address of the distribution's archive in apt's sources; empty: debootstrap's default."""
    wanted = ("Created-By: Packages", f"Origin: {distribution.name}", f"Label: {distribution.name}")
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]
    for _ in range(2):
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        if found:
            return found[0]
        run("apt-get", "-qq", "update")  # what an archive's origin is stands in its index
    return ""


# --- what the machine's own settings are ----------------------------------------------------------


def hand_in(root: str) -> list[str]:
    """Give *root* this machine's settings of apt, pip and certificates; the folders to mount."""
    with open(f"{root}/etc/hosts", "w") as hosts:
        hosts.write("127.0.0.1 localhost\n::1 localhost\n")
    shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
    settings = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    with open(f"{root}/etc/apt/apt.conf.d/90machine", "w") as file:
        file.writelines(f"{line}\n" for line in settings.stdout.splitlines() if _APT.match(line))
    # A certificate that the machine's owner added outlives an update of the bundle.
    files = [*pip_files(), *glob.glob("/usr/local/share/ca-certificates/*.crt")]
    folders = []
    for path in named_paths(files):
        if os.path.isdir(path):
            folders.append(path)
        else:
            files.append(path)
    for path in files:
        into = root + path.replace(os.path.expanduser("~"), "/root", 1)
        os.makedirs(os.path.dirname(into), exist_ok=True)
        shutil.copy(path, into)
    return folders


def pip_files() -> list[str]:
    """The files in which pip's settings are."""
    found = [path for each in _PIP_FILES for path in glob.glob(os.path.expanduser(each))]
    named = os.environ.get("PIP_CONFIG_FILE", os.devnull)
    return [path for path in (*found, named) if os.path.isfile(path)]


def named_paths(files: Sequence[str]) -> Iterator[str]:
    """The local files and folders that the settings name: certificates, folders of wheels."""
    texts = list(settings_of_environment().values())
    for path in files:
        with open(path, errors="replace") as file:
            texts.append(file.read())
    named = {path for text in texts for path in _LOCAL_PATH.findall(text)}
    # The pages of an index link to files beside it.
    named |= {os.path.dirname(path) for text in texts for path in _LOCAL_INDEX.findall(text)}
    yield from sorted(path for path in named if os.path.exists(path))


def settings_of_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _SETTINGS.fullmatch(name)}


# --- inside ---------------------------------------------------------------------------------------


def inside(root: str, folders: Sequence[str], command: Sequence[str]) -> int:
    """Run *command* in the clone in *root*; its exit status."""
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    enter = ["sh", "-c", _ENTER, "sh", root, " ".join(folders), INSIDE]
    environment = {**settings_of_environment(), "PATH": SEARCH_PATH, "HOME": "/root"}
    return subprocess.run(
        ["unshare", *namespaces, *enter, *command], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
