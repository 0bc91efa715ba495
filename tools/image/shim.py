"""The C shim for any architecture: static, with musl, so that it runs on every node."""

from __future__ import annotations

import subprocess
from pathlib import Path

_FLAGS = ("-Os", "-s", "-Wall", "-Wextra", "-static", "-nostdinc", "-nostdlib")


def build(source: Path, headers: Path, compiler: str, machine: str, target: Path) -> None:
    """Compile *source* for the *machine* with what is in *headers*.

    *compiler* is a gcc that makes programs for the *machine*, as ``uname -m`` names it.
    """
    library = headers / "usr/lib" / f"{machine}-linux-musl"
    include = [headers / "usr/include" / each for each in (f"{machine}-linux-musl", "")]
    # The kernel's headers of this architecture are links in a folder named for the other C library.
    include.append(headers / "usr/include" / f"{machine}-linux-gnu")
    command: list[str | Path] = [compiler, *_FLAGS, *(f"-isystem{each}" for each in include)]
    command += [library / "crt1.o", library / "crti.o", source, f"-L{library}"]
    command += ["-Wl,--start-group", "-lc", "-lgcc", "-lgcc_eh", "-Wl,--end-group"]
    command += [library / "crtn.o", "-o", target]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"dev: {compiler} cannot build the shim:\n{done.stderr[-2000:]}")
    target.chmod(0o755)
