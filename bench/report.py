"""Everything measured in one run, and its file."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from attrs import asdict, define, field

from bench.burst import Burst
from bench.load import Load
from bench.memory import Growth
from bench.rounds import Figure
from bench.sandboxes import Start
from bench.startup import Imports


def _machine() -> str:
    system = os.uname()
    return (
        f"{os.cpu_count()} cores, {system.sysname} {system.release}, Python"
        f" {platform.python_version()} ({platform.python_implementation()})"
    )


@define
class Report:
    """Times in seconds, memory in bytes."""

    machine: str = field(factory=_machine)
    peers: list[str] = field(factory=list)
    sandboxes: list[Start] = field(factory=list)
    starts: dict[str, float] = field(factory=dict)
    imports: Imports | None = None
    figures: list[Figure] = field(factory=list)
    cold: dict[str, float] = field(factory=dict)
    loads: list[Load] = field(factory=list)
    status: float = 0.0
    bursts: list[Burst] = field(factory=list)
    peaks: dict[str, int] = field(factory=dict)
    growth: list[Growth] = field(factory=list)
    api: dict[str, int] = field(factory=dict)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """The report that `write` wrote."""
        wire = json.loads(path.read_text())
        lists = {
            "sandboxes": Start,
            "figures": Figure,
            "loads": Load,
            "bursts": Burst,
            "growth": Growth,
        }
        made = {key: [kind(**each) for each in wire[key]] for key, kind in lists.items()}
        imports = wire["imports"] and Imports(**wire["imports"])
        return cls(**{**wire, **made, "imports": imports})
