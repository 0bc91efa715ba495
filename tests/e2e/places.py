"""A node's folders as a test's own: what runs among them finds them at the paths of a real node."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

#: Covered by overlays, so that folders can be made in them.
_COVERED = ("/etc", "/opt", "/var/lib")

#: Runs in a mount namespace of its own: arguments are the folder, then pairs, "--", a command.
_ENTER = """\
set -e
folder=$1
shift
for name in {covered}; do
    own=$folder/covered/$name
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay overlay -o "lowerdir=$name,upperdir=$own/upper,workdir=$own/work" "$name"
done
while [ "$1" != -- ]; do
    mkdir -p "$1" "$2"
    mount --bind "$2" "$1"
    shift 2
done
shift
mount --make-rshared /
exec "$@"
"""


@define
class Places:
    """Folders below *folder* that stand for those of a node, by their paths on the node."""

    folder: Path
    sources: dict[str, Path] = field(factory=dict)

    @classmethod
    def of(cls, folder: Path, *paths: str) -> Places:
        """Places with empty folders for the *paths*; /run is always one."""
        names = {path: folder / path.strip("/").replace("/", "-") for path in ("/run", *paths)}
        return cls(folder, names)

    def add(self, sources: Mapping[str, Path]) -> None:
        """Let *sources* stand for paths."""
        self.sources.update(sources)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs *argv* among these folders."""
        pairs = [str(part) for pair in sorted(self.sources.items()) for part in pair]
        script = _ENTER.format(covered=" ".join(_COVERED))
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            str(self.folder),
            *pairs,
            "--",
            *argv,
        ]

    def files(self, *but: str) -> dict[str, bytes]:
        """What is in the folders, by its path on the node, but for paths that begin with *but*."""
        found = {
            f"{place}/{file.relative_to(source)}": file
            for place, source in self.sources.items()
            for file in source.rglob("*")
            if file.is_file()
        }
        return {name: file.read_bytes() for name, file in found.items() if not name.startswith(but)}


def missing() -> str | None:
    """Why folders cannot be covered here, if so."""
    probe = ["unshare", "--mount", "sh", "-c", _PROBE]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "this machine mounts no overlay"


_PROBE = "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w && mount -t overlay o" + (
    " -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w /etc"
)
