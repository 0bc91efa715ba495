"""Everything measured in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from bench.load import Load
    from bench.memory import Growth
    from bench.rounds import Figure
    from bench.startup import Imports


@define
class Report:
    """Times in seconds, memory in bytes."""

    starts: dict[str, float] = field(factory=dict)
    imports: Imports | None = None
    figures: list[Figure] = field(factory=list)
    cold: dict[str, float] = field(factory=dict)
    loads: list[Load] = field(factory=list)
    status: float = 0.0
    peaks: dict[str, int] = field(factory=dict)
    growth: list[Growth] = field(factory=list)
    api: dict[str, int] = field(factory=dict)
