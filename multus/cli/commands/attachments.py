"""List the recorded attachments: containers, networks, addresses.

Examples:
  multus attachments
  multus attachments --json | jq '.records[] | select(.alive | not)'
  multus attachments --cni-dir /var/lib/cni/multus

The exit status is 1 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from multus.cli import screen
from multus.cli.attachments import CNI_DIR


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cni-dir", default=CNI_DIR, help="the folder of records (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print a table, or JSON ``{records: […], others: [{file, why}], errors: [text]}``."""
    from multus.api.errors import CNIError
    from multus.cli.attachments import described, others
    from multus.state.journal import Journal

    journal = Journal(arguments.cni_dir)
    found = list(journal.records())
    report = {
        "records": [described(each) for each in found if not isinstance(each, CNIError)],
        "others": list(others(journal)),
        "errors": [str(each) for each in found if isinstance(each, CNIError)],
    }
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report)
    return 1 if report["errors"] else 0


def _show(report: dict[str, Any]) -> None:
    shown = screen.Screen.open()
    records = report["records"]
    if records:
        titles = ("CONTAINER", "POD", "INTERFACE", "NETWORK", "TYPE", "ADDRESSES", "STATE", "SINCE")
        shown.rows(titles, [row for each in records for row in _rows(each)])
    lines = [f"{each['file']}: {each['damage']}" for each in records if each["damage"]]
    lines += [f"{each['file']}: {each['why']}" for each in report["others"]]
    lines += [f"error: {each}" for each in report["errors"]]
    for line in lines or ([] if records else ["nothing is attached"]):
        shown.line(line)


def _rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    container, pod = record["containerID"], record["pod"] or "-"
    attachments = record["attachments"] or [
        {"ifname": record["ifname"], "network": "?", "types": "?", "ips": "", "state": "damaged"}
    ]
    return [
        (
            container if len(container) <= 16 else f"{container[:13]}...",
            pod,
            each["ifname"],
            each["network"],
            "+".join(each["types"]),
            " ".join(each["ips"]) or "-",
            each["state"] if record["alive"] else f"{each['state']}, no namespace",
            age(record["started"]),
        )
        for each in attachments
    ]


def age(started: float) -> str:
    """An age in its largest unit: ``3h``."""
    seconds = max(0, int(time.time() - started)) if started else 0
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s" if started else "?"
