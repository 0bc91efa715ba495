"""What is aimed at, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.load import NETWORKS
from bench.sandboxes import CLUSTER_RANGE, WHEREABOUTS

if TYPE_CHECKING:
    from bench.report import Report
    from bench.rounds import Figure


class Aim(NamedTuple):
    """Ratios over direct execution: ADD by the number of networks, and DEL of sixteen."""

    title: str
    way: str
    kinds: Sequence[str]
    add: dict[int, float]
    delete: dict[int, float]


_EVERYDAY = ("ptp", "bridge", "macvlan", "mixed")

AIMS = (
    Aim("no API", "in-process, C shim", _EVERYDAY, {1: 0.40, 4: 0.20, 16: 0.16}, {16: 0.08}),
    Aim(
        "API and status",
        "in-process, C shim, API",
        _EVERYDAY,
        {1: 0.55, 4: 0.25, 16: 0.18},
        {16: 0.08},
    ),
    Aim("no API", "in-process, C shim", ("chain",), {1: 0.40}, {}),
    Aim("warm engine", "in-process, warm engine", ("ptp",), {1: 0.50, 4: 0.25, 16: 0.18}, {}),
)

#: Pods per second over direct execution's, with the API, many at once.
LOAD = 3.0

#: RunPodSandbox with three networks over one network without Multus.
SANDBOX = 1.0
#: RunPodSandbox with a range of the cluster over one network without Multus, and how many times as
#: long whereabouts' binary takes.
CLUSTER, BINARY = 1.1, 2.0


def rows(report: Report) -> list[list[str]]:
    """A row for each aim that this run measured: networks, way, ADD of 1, 4, 16, DEL of 16."""
    found = []
    for aim in AIMS:
        for kind in aim.kinds:
            figures = {
                each.networks: each
                for each in report.figures
                if (each.kind, each.way) == (kind, aim.way)
            }
            if figures:
                adds = [_cell(figures, aim.add, n, "add_ratio") for n in (1, 4, 16)]
                found.append(
                    [kind, aim.title, *adds, _cell(figures, aim.delete, 16, "delete_ratio")]
                )
    return found


def singles(report: Report) -> list[list[str]]:
    """A row for each other aim: what, measured, aimed at."""
    found = []
    for start in report.sandboxes:
        if start.way == "three networks, in-process":
            what = f"RunPodSandbox, {start.at_once} at once: three networks over one without Multus"
            found.append([what, _most(start.ratio, SANDBOX), f"≤ {SANDBOX:.1f}"])
    found += _of_cluster(report)
    for load in report.loads:
        if load.at_once >= 64 and load.way == "in-process, C shim, API":
            what = (
                f"{load.verb} of {load.at_once} pods of {NETWORKS} networks at once, with the API:"
                " pods per second, over direct execution"
            )
            found.append([what, _least(load.ratio, LOAD), f"≥ {LOAD:.0f}"])
    return found


def _of_cluster(report: Report) -> list[list[str]]:
    starts = {each.way: each for each in report.sandboxes}
    ours, binary = starts.get(CLUSTER_RANGE), starts.get(WHEREABOUTS)
    if ours is None:
        return []
    what = f"RunPodSandbox, {ours.at_once} at once: a network with a range of the cluster"
    wanted = f"≤ {CLUSTER:.1f}"
    found = [[f"{what}, over one network without Multus", _most(ours.ratio, CLUSTER), wanted]]
    if binary is not None:
        name = f"{what}: whereabouts' binary over in-process"
        for part, times in (
            ("one pod", binary.one / ours.one),
            ("until all run", binary.until_all / ours.until_all),
        ):
            found.append([f"{name}, {part}", _least(times, BINARY), f"≥ {BINARY:.0f}"])
    return found


def _cell(figures: dict[int, Figure], aims: dict[int, float], networks: int, key: str) -> str:
    if networks not in aims or networks not in figures:
        return ""
    measured = getattr(figures[networks], key)
    return f"{_most(measured, aims[networks])}, ≤ {aims[networks]:.2f}"


def _most(measured: float, aim: float) -> str:
    return f"**{measured:.2f}**" if measured <= aim else f"{measured:.2f}"


def _least(measured: float, aim: float) -> str:
    return f"**{measured:.1f}**" if measured >= aim else f"{measured:.1f}"
