"""The report as a picture and as tables of the documentation: all that stands there is made here.

`docs/_generate.py` makes it again from ``bench.json``, and compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import aims, burst, load
from bench.plot import Bar, duration, svg
from bench.report import Report
from bench.sandboxes import CLUSTER_RANGE, ONE, WHEREABOUTS
from bench.workload import CHAIN

OURS = "three networks, in-process"
_KINDS = {
    "ptp": "ptp",
    "bridge": "bridge",
    "macvlan": "macvlan",
    "mixed": "bridge, macvlan and ptp in turn",
    "chain": f"one chain of {', '.join(CHAIN)}, with a mapped port",
}


def write(report: Report, folder: Path) -> None:
    """Write the report and what is made of it."""
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / "bench.json")
    for name, text in pages(report).items():
        (folder / name).write_text(text, encoding="utf-8")


def pages(report: Report) -> dict[str, str]:
    """What is made of the report, by the name of its file."""
    title, bars = picture(report)
    return {
        "bench.svg": svg(title, bars),
        "bench-headline.md": headline(report),
        "bench-aims.md": _aims(report),
        "bench-burst.md": _bursts(report),
        "bench-whereabouts.md": _cluster_range(report),
        "bench.md": tables(report),
    }


def whole(report: Report) -> str:
    """All of it as text, for a terminal."""
    imported = report.imports
    longest = [(name, _ms(seconds)) for name, seconds in imported.longest] if imported else []
    count = f"Of {imported.count} modules that a standalone ADD imports" if imported else ""
    imports = _rows(count, "ms", longest)
    texts = [headline(report), _cluster_range(report), tables(report)]
    parts = [*texts, _bursts(report), _aims(report), imports]
    return "\n\n".join(each.strip() for each in parts if each) + "\n"


# --- What stands first --------------------------------------------------------------------------


def headline(report: Report) -> str:
    """One sentence: what a pod's three networks cost, beside one network without Multus."""
    found = {each.way: each for each in report.sandboxes}
    if not {ONE, OURS}.issubset(found):
        return f"{picture(report)[0]}: {_listed(picture(report)[1])}.\n"
    ours, one = found[OURS], found[ONE]
    others = [
        f" With three through {name} it starts in {duration(found[f'three networks, {name}'].one)}."
        for name in report.peers
        if f"three networks, {name}" in found
    ]
    return (
        f"**Of {ours.at_once} pods that start at once, one with three networks starts in"
        f" {duration(ours.one)}; with one network and no Multus in {duration(one.one)}.**"
        f"{''.join(others)}\n"
    )


def picture(report: Report) -> tuple[str, list[Bar]]:
    """The picture's title and bars: pods' starts; where none were measured, an ADD."""
    if report.sandboxes:
        title = f"The start of a pod, {report.sandboxes[0].at_once} at once (RunPodSandbox)"
        return title, [
            Bar(_label(each.way), each.one, _kind(each.way, place))
            for place, each in enumerate(report.sandboxes)
            if each.way not in (CLUSTER_RANGE, WHEREABOUTS)
        ]
    first = report.figures[-1]
    figures = [
        each
        for each in report.figures
        if (each.kind, each.networks) == (first.kind, first.networks)
        and each.way in ("direct exec", "in-process, C shim, API", *report.peers)
    ]
    title = f"ADD of {first.networks} network{'s' * (first.networks > 1)} ({first.kind})"
    return title, [
        Bar(each.way, each.add, _kind(each.way, place)) for place, each in enumerate(figures)
    ]


def _label(way: str) -> str:
    return way.replace("three networks, exec", "three networks, binaries")


def _kind(way: str, place: int) -> str:
    if place == 0:
        return "base"
    return "ours" if "in-process" in way else "other"


def _listed(bars: Iterable[Bar]) -> str:
    return ", ".join(f"{each.label} {duration(each.seconds)}" for each in bars)


# --- The tables ---------------------------------------------------------------------------------


def tables(report: Report) -> str:
    """Every figure, with the machine that it was measured on."""
    machine = (
        f"Measured on {report.machine}. Medians, ms; in brackets what they are over direct"
        " execution of the same delegates in the same run."
    )
    kinds = dict.fromkeys(each.kind for each in report.figures)
    sections = [
        machine,
        _sandboxes(report),
        *(_figures(report, kind) for kind in kinds),
        _loads(report),
        _rows("The start of a process", "ms", _in_ms(report.starts)),
        _rows("The first ADD of one network after a start", "ms", _in_ms(report.cold)),
        _rows("Peak memory of a process", "MB", _in_mb(report.peaks.items())),
        _rows(
            "Memory of all processes of the daemon, caches on, after so many pods",
            "MB",
            _in_mb((str(each.pods), each.size) for each in report.growth),
        ),
        _singles(report),
    ]
    return "\n\n".join(each for each in sections if each) + "\n"


def _sandboxes(report: Report) -> str:
    rows = [
        [_label(each.way), f"{_ms(each.one)} ({each.ratio:.2f})", _ms(each.until_all)]
        for each in report.sandboxes
    ]
    heads = ["RunPodSandbox of containerd", "one pod", "until all run"]
    return _table(heads, rows) if rows else ""


def _cluster_range(report: Report) -> str:
    """What an address that is unique in the cluster costs a pod; "" where it was not measured."""
    found = {each.way: each for each in report.sandboxes}
    if not {ONE, CLUSTER_RANGE}.issubset(found):
        return ""
    ours = found[CLUSTER_RANGE]
    told = (
        f"Of {ours.at_once} pods that start at once, one with such a network beside its node's"
        f" default starts in {duration(ours.one)}, {ours.ratio:.2f} times as long as one that has"
        f" the default network alone, without Multus ({duration(found[ONE].one)})."
    )
    if WHEREABOUTS not in found:
        return f"{told}\n"
    binary = found[WHEREABOUTS]
    return (
        f"{told} With the binary for IPAM it starts in {duration(binary.one)}. All {ours.at_once}"
        f" run after {duration(ours.until_all)}, with the binary after"
        f" {duration(binary.until_all)}.\n"
    )


def _figures(report: Report, kind: str) -> str:
    figures = [each for each in report.figures if each.kind == kind]
    networks = list(dict.fromkeys(each.networks for each in figures))
    heads = [f"{verb}, {count}" for verb in ("ADD", "DEL") for count in networks]
    rows = []
    for way in dict.fromkeys(each.way for each in figures):
        mine = {each.networks: each for each in figures if each.way == way}
        adds = [f"{_ms(mine[n].add)} ({mine[n].add_ratio:.2f})" for n in networks]
        deletes = [f"{_ms(mine[n].delete)} ({mine[n].delete_ratio:.2f})" for n in networks]
        rows.append([way, *adds, *deletes])
    return _table([_KINDS[kind], *heads], rows)


def _loads(report: Report) -> str:
    rows = [
        [
            each.way,
            each.verb,
            str(each.at_once),
            f"{each.per_second:.1f} ({each.ratio:.2f})",
            _ms(each.p50),
            _ms(each.p99),
        ]
        for each in report.loads
    ]
    pods = f"pods of {load.NETWORKS} networks ({_KINDS[load.KIND]})"
    return _table([pods, "", "at once", "pods per second", "p50", "p99"], rows) if rows else ""


def _singles(report: Report) -> str:
    calls = ", ".join(f"{count} {method}" for method, count in sorted(report.api.items()))
    return (
        f"A warm ADD of four networks asks the API server for {calls} before it answers."
        f" STATUS takes {_ms(report.status)} ms of the daemon's own time."
    )


def _bursts(report: Report) -> str:
    rows = [[each.how, f"{each.memory / (1 << 20):.0f}", _ms(each.cpu)] for each in report.bursts]
    heads = [
        f"{burst.AT_ONCE} pods of {burst.NETWORKS} networks at once ({_KINDS[burst.KIND]})",
        "memory at most, MiB",
        "CPU for each ADD and DEL, ms",
    ]
    return f"{_table(heads, rows)}\n" if rows else "No cgroup could be made.\n"


def _aims(report: Report) -> str:
    heads = ["", "", "ADD, 1", "ADD, 4", "ADD, 16", "DEL, 16"]
    both = (
        (heads, aims.rows(report)),
        (["", "measured", "aim"], aims.singles(report)),
    )
    return "\n\n".join(_table(heads, rows) for heads, rows in both if rows) + "\n"


def _in_ms(rows: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, _ms(seconds)) for name, seconds in rows.items()]


def _in_mb(rows: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(name, f"{size / 1e6:.1f}") for name, size in rows]


def _rows(title: str, unit: str, rows: Sequence[tuple[str, str]]) -> str:
    return _table([title, unit], [list(row) for row in rows]) if rows else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"
