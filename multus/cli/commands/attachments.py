"""List the recorded attachments: pods, interfaces, networks, addresses.

Examples:
  multus attachments
  multus attachments -n shop --network storage -o wide
  multus attachments --pod web --watch
  multus attachments -o json | jq '.records[] | select(.alive | not)'
  multus attachments -o name | cut -d/ -f1 | sort -u     containers

On a terminal, columns that are too wide are cut; '-o wide' cuts nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from multus.cli import attachments, screen, statuses, telling

_FORMS = ("wide", "json", "yaml", "name")
TITLES = ("POD", "INTERFACE", "NETWORK", "ADDRESSES", "STATE", "AGE")
WIDE = ("CONTAINER", "TYPE", "MAC", "INVOKERS")
#: Between two looks of --watch, in seconds.
_PAUSE = 0.5

#: A row, and the key under which the next look finds it again.
_Row = tuple[str, ...]


STATUSES = {
    0: "all records were read",
    1: "a file cannot be read",
    **statuses.INTERRUPTED,
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pod", default="", help="only of this pod: NAME or NAMESPACE/NAME")
    parser.add_argument("-n", "--namespace", default="", help="only of pods in this namespace")
    parser.add_argument(
        "--network", default="", help="only to this network: NAME or NAMESPACE/NAME"
    )
    parser.add_argument("-o", "--output", choices=_FORMS, help="another form of the output")
    parser.add_argument("--json", action="store_true", help="the same as -o json")
    parser.add_argument(
        "-w", "--watch", action="store_true", help="go on, and print what changes; ends by Ctrl-C"
    )
    attachments.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table, or JSON ``{records: […], others: [{file, why}], errors: [text]}``."""
    form = "json" if arguments.json else arguments.output
    if arguments.watch and form in ("json", "yaml"):
        screen.complain("multus attachments: --watch prints lines: use no -o, -o wide or -o name")
        return 2
    report = _report(arguments)
    if form == "json":
        screen.as_json(report)
    elif form == "yaml":
        from yaml import safe_dump

        screen.document(safe_dump(report, sort_keys=False, allow_unicode=False))
    elif form == "name":
        for name in _names(report):
            screen.say(name)
    else:
        _show(report, wide=form == "wide", filtered=_is_filtered(arguments))
    if arguments.watch:
        _watch(arguments, report, form or "")
    return 1 if report["errors"] else 0


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    from multus.api.errors import CNIError
    from multus.cli.attachments import described, others
    from multus.state.journal import Journal

    journal = Journal(arguments.cni_dir)
    found = list(journal.records())
    records = [described(each) for each in found if not isinstance(each, CNIError)]
    if _is_filtered(arguments):
        records = [each for each in (_matching(r, arguments) for r in records) if each]
    return {
        "records": records,
        "others": [] if _is_filtered(arguments) else list(others(journal)),
        "errors": [str(each) for each in found if isinstance(each, CNIError)],
    }


def _is_filtered(arguments: argparse.Namespace) -> bool:
    return bool(arguments.pod or arguments.namespace or arguments.network)


def _matching(record: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The record with the attachments that the filters keep; None without any."""
    pod = record["pod"]
    if arguments.namespace and pod.partition("/")[0] != arguments.namespace:
        return None
    if arguments.pod and not _is_named(pod, arguments.pod):
        return None
    if not arguments.network:
        return record
    kept = [e for e in record["attachments"] if _is_named(e["network"], arguments.network)]
    return {**record, "attachments": kept} if kept else None


def _is_named(name: str, wanted: str) -> bool:
    """Whether *name* is *wanted*, or has it after its namespace."""
    return wanted in (name, name.rpartition("/")[2])


def _show(report: dict[str, Any], *, wide: bool, filtered: bool) -> None:
    records = report["records"]
    found = [row for each in records for row in rows(each, wide=wide)]
    if found:
        _table((*TITLES, *(WIDE if wide else ())), found, wide=wide)
    lines = [f"{each['file']}: {each['damage']}" for each in records if each["damage"]]
    lines += [f"{each['file']}: {each['why']}" for each in report["others"]]
    lines += [f"error: {each}" for each in report["errors"]]
    empty = "nothing attached matches" if filtered else "nothing is attached"
    for line in lines or ([] if found else [empty]):
        screen.tell(line)


def _table(titles: tuple[str, ...], rows: list[_Row], *, wide: bool) -> None:
    from multus.cli.layout import table

    shown = screen.Screen.open()
    width = 0 if wide or not screen.out().isatty() else shown.width
    for line in table(titles, rows, width):
        # Not `line`, which would wrap a wide one.
        shown.part(*line)
        screen.write("\n")


def rows(record: Mapping[str, Any], *, wide: bool) -> Iterator[_Row]:
    """The rows of a record, as ``described`` makes it, under ``TITLES`` (and ``WIDE``)."""
    container = record["containerID"]
    who = record["pod"] or (container if len(container) <= 16 else f"{container[:13]}...")
    attachments = record["attachments"] or [
        {"ifname": record["ifname"], "network": "?", "types": "?", "ips": "", "state": "damaged"}
    ]
    for each in attachments:
        row = (
            who,
            each["ifname"],
            each["network"],
            " ".join(each["ips"]) or "-",
            each["state"] if record["alive"] else f"{each['state']}, no namespace",
            age(record["started"]),
        )
        more = (
            container,
            "+".join(each["types"]),
            each.get("mac") or "-",
            "+".join(each.get("invokers", ())) or "-",
        )
        yield (*row, *more) if wide else row


def _names(report: dict[str, Any]) -> list[str]:
    return [
        f"{record['containerID']}/{each['ifname']}"
        for record in report["records"]
        for each in record["attachments"]
    ]


def _watch(arguments: argparse.Namespace, report: dict[str, Any], form: str) -> None:
    """Print each row that appears, changes or disappears, until the program is interrupted."""
    telling.end()
    before = _keyed(report, form)
    while True:
        screen.flush()
        time.sleep(_PAUSE)
        after = _keyed(_report(arguments), form)
        for key, row in after.items():
            if _without_age(before.get(key)) != _without_age(row):
                screen.say("  ".join(row))
        for key, row in before.items():
            if key not in after:
                screen.say("  ".join((*row, "gone")))
        before = after


def _keyed(report: dict[str, Any], form: str) -> dict[str, _Row]:
    names = _names(report)
    if form == "name":
        return {name: (name,) for name in names}
    found = [
        row
        for each in report["records"]
        if each["attachments"]
        for row in rows(each, wide=form == "wide")
    ]
    return dict(zip(names, found, strict=True))


def _without_age(row: _Row | None) -> _Row | None:
    at = TITLES.index("AGE")
    return None if row is None else (*row[:at], *row[at + 1 :])


def age(started: float) -> str:
    """An age in its largest unit: ``3h``."""
    seconds = max(0, int(time.time() - started)) if started else 0
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s" if started else "?"
