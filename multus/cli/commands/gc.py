"""Remove what containers that are gone have left on this node.

A container is gone when its network namespace is, or when the node was started
again since. Its attachments are deleted as a DEL does it. Then go addresses,
interfaces and firewall rules that nobody owns: no record has their container,
and no network namespace has the address. What may be another program's is
named and left alone.

Examples:
  multus gc --dry-run           show what would be removed
  multus gc
  multus gc --json | jq '.left[].name'
  multus gc --cri /run/containerd/containerd.sock

With --cri, a container that the runtime lists is not touched. Records of the Go
Multus count too; one that names no namespace is kept, until the container's
DEL. Containers in use by another command are left. An address without a record
has to be a minute old.
"""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.cli import attachments, screen, telling
from multus.cli.node import NET_D
from multus.log._printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multus.healing.carrying import Done
    from multus.healing.look import Places
    from multus.healing.plan import Plan, Thing

#: Lines that are not for a terminal are not wrapped.
_UNBOUNDED = 1 << 20


STATUSES = {
    0: "nothing is left of containers that are gone",
    1: "something could not be looked at or removed",
}


def configure(parser: argparse.ArgumentParser) -> None:
    attachments.configure(parser)
    parser.add_argument("-c", "--conf", metavar="FILE", help="Multus' configuration")
    parser.add_argument("--cri", default="", metavar="SOCKET", help="the runtime's CRI socket")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print each thing, or JSON ``{removed: [thing], left: [thing], errors: [text]}``."""
    from multus.engine.assembly import engine_for
    from multus.healing.carrying import Done, Remover
    from multus.healing.look import look
    from multus.healing.plan import plan

    places = places_of(arguments)
    telling.doing("looking at records, stores, links, rules and namespaces")
    made = plan(look(places))
    # Describe them before the removal: afterwards their attachments are gone.
    described = {id(each): _wire(each) for each in (*made.remove, *made.left)}
    if arguments.dry_run:
        done = [Done(each) for each in made.remove]
    else:
        telling.doing(f"removing {len(made.remove)} thing(s)")
        done = list(Remover(places.cni_dirs, engine_for).carry_out(made.remove))
    report = _report(made, done, described)
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report, dry_run=arguments.dry_run)
    return 1 if made.errors or any(each.problem for each in done) else 0


def places_of(arguments: argparse.Namespace) -> Places:
    """Where to look: the folder of records, those that its daemon knows, the configuration."""
    from multus.api.errors import CNIError
    from multus.cli.node import find_conf, load_conf
    from multus.daemon.spool import remembered
    from multus.healing.look import Places

    confs = []
    if arguments.conf:
        confs = [load_conf(arguments.conf).config]
    else:
        with suppress(CNIError):  # the records say which networks are ours
            confs = [find_conf(NET_D).config]
    folder = os.path.abspath(arguments.cni_dir)
    return Places((folder, *remembered(folder)), confs, cri=arguments.cri)


def _report(plan: Plan, done: Sequence[Done], described: Mapping[int, Any]) -> dict[str, Any]:
    removed = [described[id(each.thing)] for each in done if not each.problem]
    failed = [
        {**described[id(each.thing)], "problem": each.problem} for each in done if each.problem
    ]
    left = [described[id(each)] for each in plan.left]
    errors = [str(each) for each in plan.errors]
    return {"removed": removed, "left": [*failed, *left], "errors": errors}


def _wire(thing: Thing) -> dict[str, Any]:
    from multus.cli.attachments import described
    from multus.healing.facts import Seen

    found = {"kind": thing.kind, "name": thing.name, "reason": thing.reason}
    if isinstance(thing.what, Seen):
        return {**found, **described(thing.what.record)}
    return {**found, "containerID": thing.container_id}


def _show(report: dict[str, Any], *, dry_run: bool) -> None:
    shown = screen.Screen.open()
    for verb, key in (("would be removed" if dry_run else "removed", "removed"), ("left", "left")):
        for thing in report[key]:
            why = thing.get("problem") or thing["reason"]
            _line(shown, f"{verb}: {thing['name']}: {why}")
    if report["errors"] and os.geteuid() != 0:
        _line(shown, f"error: run it as root: {'; '.join(report['errors'])}")
    else:
        for error in report["errors"]:
            _line(shown, f"error: {error}")
    if not any(report.values()):
        shown.line("no garbage: every container with a record is alive")


def _line(shown: screen.Screen, text: str) -> None:
    """Print a line; on a terminal it is wrapped, and continues indented."""
    width = shutil.get_terminal_size().columns if screen.out().isatty() else _UNBOUNDED
    for line in textwrap.wrap(
        printable(text),
        width,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    ):
        shown.line(line)
