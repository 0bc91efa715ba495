"""Make a running pod's networks what its annotation asks for now.

What is attached is compared with what the pod asks for: networks that are gone
from its annotation are detached, new ones are attached, and changed ones are
detached and attached again. The pod's first interface, the node's own networks
and those of other controllers stay. No other interface gets another name.

Examples:
  multus apply web --dry-run            what would be done to default/web
  multus apply shop/web
  multus apply 3f2a9c                   by the beginning of its container's ID
  multus apply shop/web --json | jq .refused

It works with the daemon and without it, on the node where the pod runs, also
in the daemon's own container.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from multus.cli import attachments, screen, telling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multus.api.network import Attachment, Changes, Delegate, Refusal
    from multus.engine.changing import Foreseen
    from multus.state.journal import Journal
    from multus.state.record import Record


STATUSES = {
    0: "the pod has what it asks for, or would have it",
    1: "it lacks a network that it asks for, or the command failed",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", metavar="POD|CONTAINER", help="NAMESPACE/NAME, NAME, or an ID")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    attachments.configure(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what was done, or JSON ``{kept: […], removed: […], added: […], refused: […]}``."""
    from attrs import evolve

    from multus.engine.assembly import engine_for
    from multus.engine.changing import request_of
    from multus.state.journal import Journal

    journal = Journal(os.path.abspath(arguments.cni_dir))
    record = _record_of(arguments.pod, journal)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    request, conf = request_of(record, environ)
    conf = evolve(conf, cni_dir=journal.folder)
    engine = engine_for(conf)
    engine.chroot = _chroot()
    telling.doing(f"comparing {arguments.pod} with what it asks for")
    if arguments.dry_run:
        rows = _foreseen(engine.foresee(request, conf))
    else:
        rows = _done(engine.change(request, conf), journal.find(*record.key))
    report = {"pod": str(request.pod or ""), "containerID": request.container_id, **rows}
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report, dry_run=arguments.dry_run)
    return 1 if report["refused"] else 0


def _chroot() -> str:
    """Where the node's plugins are, when this runs in the daemon's container: as it has it."""
    from multus.cli.node import DAEMON_SETTINGS
    from multus.daemon.settings import Settings

    chroot = Settings.read(DAEMON_SETTINGS, os.environ).chroot
    return chroot if os.path.isdir(chroot) else ""


def _record_of(asked: str, journal: Journal) -> Record:
    """The record of the container that *asked* names; raises ``CNIError`` when it is not one."""
    from multus.api.errors import CNIError, InvalidConfig, UnknownContainer

    records = [each for each in journal.records() if not isinstance(each, CNIError)]
    pod = asked if "/" in asked else f"default/{asked}"
    found = [each for each in records if str(each.request.pod or "") == pod]
    living = [each for each in found if _lives(each)] or found
    if not found:
        living = [each for each in records if each.request.container_id.startswith(asked)]
    if not living:
        raise UnknownContainer(
            f"no pod {pod} and no container {asked!r} has a record in {journal.folder}",
            fix="see 'multus attachments' for what is attached on this node",
        )
    if len(living) > 1:
        names = ", ".join(sorted(each.request.container_id for each in living))
        raise InvalidConfig(f"{asked!r} is one of {names}", fix="give the whole container ID")
    return living[0]


def _lives(record: Record) -> bool:
    from multus.state.liveness import lives

    return lives(record)


def _foreseen(found: Foreseen) -> dict[str, list[dict[str, Any]]]:
    return {
        "kept": [_of(each) for each in found.kept],
        "removed": [_of(each) for each in found.removed],
        "added": [_of(each.delegate) for each in found.added],
        "refused": _refused(found.refused),
    }


def _done(changes: Changes, now: Record | None) -> dict[str, list[dict[str, Any]]]:
    added = [each.delegate.ifname for each in changes.added]
    there = now.attachments() if now is not None else ()
    return {
        "kept": [_with_ips(each) for each in there if each.delegate.ifname not in added],
        "removed": [_of(each) for each in changes.removed],
        "added": [_with_ips(each) for each in changes.added],
        "refused": _refused(changes.refused),
    }


def _of(delegate: Delegate) -> dict[str, Any]:
    return {"interface": delegate.ifname, "network": delegate.label, "types": delegate.types}


def _with_ips(attachment: Attachment) -> dict[str, Any]:
    return {**_of(attachment.delegate), "ips": [ip.address for ip in attachment.result.ips]}


def _refused(refusals: Iterable[Refusal]) -> list[dict[str, Any]]:
    return [
        {
            "interface": each.ifname,
            "network": each.network,
            "code": each.error.number,
            "msg": each.error.msg,
        }
        for each in refusals
    ]


def _show(report: dict[str, Any], *, dry_run: bool) -> None:
    shown = screen.Screen.open()
    words = (("kept", "keep"), ("removed", "detach"), ("added", "attach"), ("refused", "refuse"))
    cells = [
        (word if dry_run else key, each["interface"], each["network"], _addresses(each))
        for key, word in words
        for each in report[key]
    ]
    shown.rows(("", "INTERFACE", "NETWORK", "ADDRESSES"), cells)
    for each in report["refused"]:
        shown.line(f"{each['interface']} ({each['network']}): {each['msg']}")
    if not (report["removed"] or report["added"] or report["refused"]):
        shown.line("nothing to change: the pod has what it asks for")


def _addresses(each: dict[str, Any]) -> str:
    return " ".join(each.get("ips", ())) or "-"
