"""Check this node: configuration, programs, daemon, leaks.

Checks the order of the files in net.d, the configuration, binaries, the
daemon, API rights, the journal, disk and clock, DELs that wait for a daemon,
addresses and interfaces without an owner. Each finding has a fix. Nothing is
changed.

Examples:
  multus doctor
  multus doctor --root /host    in a container with the node's / at /host
  multus doctor --bundle node-a.tar.gz    for a report: look at it before
  multus doctor --json | jq '.findings[] | select(.severity == "error")'

A check that could not look, at a file that only root can read for instance, is
marked "?".
"""

from __future__ import annotations

import argparse
import os

from multus.cli import screen, statuses, telling
from multus.cli.commands.doctor.places import Places

STATUSES = statuses.CHECKING


def configure(parser: argparse.ArgumentParser) -> None:
    known = Places()
    parser.add_argument("--root", default="", metavar="FOLDER", help="the node's / is mounted here")
    parser.add_argument("-c", "--conf", metavar="FILE", help="Multus' configuration")
    for option, default, what in (
        ("--net-d", known.net_d, "the runtime's configuration files"),
        ("--bin-dir", known.bin_dir, "the runtime's plugins"),
        ("--socket", os.environ.get("MULTUS_SOCKET") or known.socket, "the daemon's socket"),
        ("--addresses", known.addresses, "host-local's store"),
        ("--results", known.results, "the runtime's cache"),
        ("--sriov", known.sriov, "the SR-IOV plugins' allocation files"),
        ("--settings", known.settings, "the daemon's settings"),
        ("--cni-dir", known.cni_dir, "where shims queue a DEL whose 'cniDir' they cannot read"),
    ):
        parser.add_argument(option, default=default, metavar="PATH", help=f"{what} ({default})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--bundle", metavar="FILE", help="also write all that a report needs to this .tar.gz"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings and their sum; the status is the sum's."""
    from multus import __version__
    from multus.cli.commands.doctor.examine import examine, name_of, node_at
    from multus.cli.findings import Finding, Tally

    places = Places(
        root=arguments.root.rstrip("/"),
        net_d=arguments.net_d,
        bin_dir=arguments.bin_dir,
        socket=arguments.socket,
        addresses=arguments.addresses,
        results=arguments.results,
        sriov=arguments.sriov,
        settings=arguments.settings,
        cni_dir=arguments.cni_dir,
    )
    node = node_at(places, os.path.abspath(arguments.conf) if arguments.conf else "")
    examinations = list(examine(node))
    tally = Tally([each for _, found in examinations for each in found])
    name = name_of(places)
    wire = [
        {"examination": title, **each.to_wire()} for title, found in examinations for each in found
    ]
    about = {"node": name, "version": __version__, "configuration": node.file or None}
    report = {**about, "counts": tally.counts(), "findings": wire}
    if arguments.bundle:
        from multus.cli.commands.doctor import bundle

        telling.doing("collecting the report")
        names = bundle.write(arguments.bundle, node, report)
        screen.complain(f"wrote {arguments.bundle}, without secrets: {', '.join(names)}")
    if arguments.json:
        screen.as_json(report)
    else:
        shown = screen.Screen.open()
        for title, found in examinations:
            shown.heading(title)
            for each in found:
                shown.finding(each)
        shown.line()
        counts = tally.counts()
        said = f"{counts['ok']} ok, {tally}, {counts['notApplicable']} not applicable"
        shown.finding(Finding(tally.severity, f"node {name}, Multus {__version__}", said))
    return tally.status
