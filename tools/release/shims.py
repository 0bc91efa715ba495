"""Whether the core's wheels have the shim that their names promise."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tools.release.version import Wrong

_SHIM = "scripts/multus-shim"
#: ``uname -m`` by the name that pyelftools has for the machine.
_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
#: Segments of a program that needs a loader or libraries of the machine.
_DYNAMIC = {"PT_INTERP", "PT_DYNAMIC"}


def check(files: Sequence[Path]) -> None:
    """Raise unless each of the core's wheels has a static shim for the machine of its name.

    A wheel for every machine has none.
    """
    for path in files:
        if path.name.startswith("multus-") and path.suffix == ".whl":
            reason = _wrong(path)
            if reason:
                raise Wrong(f"{path.name}: {reason}")


def _wrong(path: Path) -> str:
    platform = path.stem.rpartition("-")[2]
    with zipfile.ZipFile(path) as wheel:
        shims = [wheel.read(name) for name in wheel.namelist() if name.endswith(_SHIM)]
    if platform == "any":
        return "it is for every machine, and has a shim of one" if shims else ""
    if not shims:
        return "it has no shim"
    program = ELFFile(io.BytesIO(shims[0]))
    if _DYNAMIC & {str(each["p_type"]) for each in program.iter_segments()}:
        return "its shim is not linked statically"
    machine = _MACHINES.get(str(program["e_machine"]), "another machine")
    return "" if platform.endswith(f"_{machine}") else f"its shim is of {machine}"
