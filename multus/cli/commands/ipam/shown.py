"""What the command prints: ranges with bars, allocations, what was freed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.cli import screen
from multus.cli.layout import bar

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange, Allocation
    from multus.healing.addresses import Freed, Suspect

#: The columns of a bar, on a wide screen and on a narrow one.
_CELLS, _FEW_CELLS, _NARROW = 20, 8, 80
_TITLES = ("RANGE", "ADDRESS", "POD", "INTERFACE", "REMARK")

#: Why an allocation is odd, by its identity.
Reasons = Mapping[int, str]


def status(ranges: Sequence[AddressRange], reasons: Reasons) -> None:
    """A line for each range: how full it is, and how many allocations are odd."""
    out = screen.Screen.open()
    if not ranges:
        screen.say("no range of a cluster")
        return
    names = [_named(each) for each in ranges]
    longest, cells = max(map(len, names)), _CELLS if out.width >= _NARROW else _FEW_CELLS
    for name, each in zip(names, ranges, strict=True):
        share = min(1.0, each.used / each.size) if each.size else 1.0
        odd = sum(bool(_remark(one, reasons)) for one in each.allocations)
        line = [f"{name:<{longest}}  ", *bar(share, cells, plain=out.is_ascii)]
        unit = f" {each.unit}" if each.unit else ""
        line.append(f"  {each.used} of {each.size}{unit}, {share:.0%}")
        if odd:
            line.append((f"  {odd} suspicious", "yellow"))
        out.line(*line)


def listed(ranges: Sequence[AddressRange], reasons: Reasons, *, only: bool) -> None:
    """A row for each allocation; with *only*, for those that are odd."""
    rows = [
        (_named(each), one.address, one.pod or str(one.owner or ""), one.ifname, remark)
        for each in ranges
        for one in each.allocations
        if (remark := _remark(one, reasons)) or not only
    ]
    if not rows:
        screen.say("nothing is suspicious" if only else "no address is allocated")
    elif screen.is_too_wide([_TITLES, *rows]):
        screen.records(_TITLES, rows)
    else:
        screen.Screen.open().rows(_TITLES, rows)


def freed(chosen: Sequence[Suspect], done: Sequence[Freed], *, dry_run: bool) -> None:
    """A line for each address."""
    for each in chosen if dry_run else ():
        screen.say(f"would free {_line(each)}")
    for one in done:
        if missed := _missed(one):
            screen.say(f"not freed: {_line(one.suspect)}: {missed}")
        else:
            screen.say(f"freed {_line(one.suspect)}")
    if not chosen:
        screen.say("nothing is left of pods that are gone")


def to_wire(each: AddressRange, reasons: Reasons) -> dict[str, Any]:
    """A range for programs."""
    return {
        "range": each.name,
        "network": each.network,
        "size": each.size,
        "used": each.used,
        "unit": each.unit or "addresses",
        "allocations": [
            {
                "address": one.address,
                "pod": one.pod,
                "owner": f"{one.owner or ''}",
                "interface": one.ifname,
                "containerID": one.container,
                "remark": _remark(one, reasons),
            }
            for one in each.allocations
        ],
    }


def freed_wire(chosen: Sequence[Suspect], done: Sequence[Freed]) -> list[dict[str, Any]]:
    """What was freed, or would be, for programs."""
    outcomes = {one.suspect.key: one for one in done}
    return [
        {
            "range": each.range.name,
            "address": each.allocation.address,
            "pod": each.allocation.pod,
            "reason": each.reason,
            "freed": each.key in outcomes and not _missed(outcomes[each.key]),
            "problem": _missed(outcomes[each.key]) if each.key in outcomes else "",
        }
        for each in chosen
    ]


def _missed(one: Freed) -> str:
    """Why a suspect was not freed; "" when it was."""
    return str(one.problem) if one.problem else one.kept


def _named(each: AddressRange) -> str:
    return f"{each.name} ({each.network})" if each.network else each.name


def _line(each: Suspect) -> str:
    held = each.allocation
    who = f"{held.pod} {held.ifname}".strip() or f"{held.owner or 'unknown'}"
    return f"{held.address} of {_named(each.range)}, {who}: {each.reason}"


def _remark(one: Allocation, reasons: Reasons) -> str:
    return reasons.get(id(one), "") or one.doubt
