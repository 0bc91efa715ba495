"""Remove attachments of containers that no longer exist.

A container is gone when its network namespace is: the path in the record does
not exist, or belongs to another namespace. Its attachments are deleted as a
DEL does it; then the networks' plugins get a GC request (CNI 1.1).

Examples:
  multus gc --dry-run           show what would be removed
  multus gc
  multus gc --json | jq .errors

Records of the Go Multus count too; one that names no namespace is kept, until
the container's DEL. Containers in use by another command are skipped. The exit
status is 1 when something could not be removed.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.cli import screen
from multus.cli.attachments import CNI_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from multus.api.conf import Conf
    from multus.api.errors import CNIError
    from multus.api.request import Request
    from multus.state.journal import Journal
    from multus.state.record import Record

#: The Go Multus's own network, where no record of ours says another.
_ITS_CONF = {"name": "multus-cni-network", "type": "multus", "cniVersion": "1.0.0"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cni-dir", default=CNI_DIR, help="the folder of records (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the removed attachments, or JSON ``{removed: […], left: […], errors: [text]}``."""
    from multus.api.errors import CNIError
    from multus.cli.attachments import described
    from multus.state import garbage
    from multus.state.journal import Journal
    from multus.state.liveness import lives

    journal = Journal(arguments.cni_dir)
    found = [*journal.records(), *_of_the_go_program(journal)]
    errors = [each for each in found if isinstance(each, CNIError)]
    records = [each for each in found if not isinstance(each, CNIError)]
    alive = [each for each in records if lives(each)]
    dead = [each for each in records if each not in alive]
    # Describe them before the removal: afterwards their attachments are gone.
    before = {each.key: described(each) for each in dead}
    if not arguments.dry_run:
        errors += garbage.remove_incomplete(journal)
        errors += _collect(records, alive, dead, arguments.cni_dir)
    kept = [] if arguments.dry_run else garbage.still_recorded(journal, dead)
    keys = {each.key for each in kept}
    left = [each for each in dead if each.key in keys]
    removed = [before[each.key] for each in dead if each not in left]
    report = {
        "removed": removed,
        "left": [before[each.key] for each in left],
        "errors": [str(each) for each in errors],
    }
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report, dry_run=arguments.dry_run)
    return 1 if errors or left else 0


def _of_the_go_program(journal: Journal) -> Iterator[Record]:
    """Its records as ours, with the configuration of our newest record that has a valid one."""
    from multus.api.conf import Conf
    from multus.api.errors import CNIError
    from multus.api.request import Request
    from multus.state import cached, predecessor

    if not journal.others() and not cached.containers(journal.folder):
        return
    ours = [each for each in journal.records() if not isinstance(each, CNIError)]
    newest_first = sorted(ours, key=lambda each: each.started, reverse=True)
    here = {"cniDir": os.path.abspath(journal.folder)}
    for conf in (*(each.conf for each in newest_first), _ITS_CONF):
        with suppress(CNIError):
            known = Conf.from_wire({**conf, **here})
            yield from predecessor.records(journal, (), Request("GC"), known)
            return


def _collect(
    records: Sequence[Record], alive: Sequence[Record], dead: Sequence[Record], cni_dir: str
) -> list[CNIError]:
    """Run the engine's garbage collection for every network that has garbage."""
    from multus.api.errors import attempted
    from multus.engine.assembly import engine_for

    def collect(of_network: Sequence[Record]) -> None:
        conf = _conf(max(of_network, key=lambda each: each.started), alive, cni_dir)
        engine_for(conf).collect_garbage(_request(of_network), conf)

    networks = sorted({each.network for each in dead})
    errors = [
        attempted(f"GC of network {name!r}", collect, [e for e in records if e.network == name])
        for name in networks
    ]
    return [error for error in errors if error is not None]


def _conf(newest: Record, alive: Sequence[Record], cni_dir: str) -> Conf:
    from multus.api.conf import Conf

    valid = [{"containerID": each.key[0], "ifname": each.key[1]} for each in alive]
    here = {"cniDir": os.path.abspath(cni_dir), "cni.dev/valid-attachments": valid}
    return Conf.from_wire({**newest.conf, **here})


def _request(records: Sequence[Record]) -> Request:
    from multus.api.request import Request

    environ = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    folders = dict.fromkeys(folder for each in records for folder in each.request.path)
    return Request("GC", path=tuple(folders), environ=environ)


def _show(report: dict[str, Any], *, dry_run: bool) -> None:
    shown = screen.Screen.open()
    for verb, key in (("would be removed" if dry_run else "removed", "removed"), ("left", "left")):
        for record in report[key]:
            what = ", ".join(
                f"{each['ifname']} ({each['network']})" for each in record["attachments"]
            )
            line = f"{verb}: container {record['containerID']} {record['pod']}: {what}"
            shown.line(line)
    for error in report["errors"]:
        shown.line(f"error: {error}")
    if not any(report.values()):
        shown.line("no garbage: every container with a record is alive")
