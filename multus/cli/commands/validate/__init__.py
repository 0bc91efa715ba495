"""Check configurations and objects; show line, key and fix.

Checks CNI configurations (of Multus and of delegates), Network objects,
NetworkAttachmentDefinitions, pods and workloads that use them, and the
definitions of these kinds; JSON or YAML.

Examples:
  multus validate                              this node's configuration files
  multus validate 00-multus.conf
  multus validate deploy/ pod.yaml             pods and their networks
  kubectl get net-attach-def -A -o yaml | multus validate -f -
  multus validate -f networks/ --json | jq -r '.findings[].reason'

Of a node that ran the Go Multus, with -f daemon-config.json too: it lists the
settings that mean something else here.

On a node whose runtime calls Multus, what networks need of it is looked for:
binaries, interfaces, bridges, devices. Elsewhere, and with --off-node, this is
not checked. What could not be looked at is marked "?" and counted apart.

With --off-node, what only the node can answer does not count for the exit
status.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, InvalidConfig
from multus.cli import screen, statuses, telling
from multus.cli.node import BIN_DIR, NET_D, conf_files, find_conf

_COLUMNS, _INDENT = 80, "    "
#: What the Go Multus's daemon reads, in the folder of the runtime's files.
_DAEMON_CONFIG = "multus.d/daemon-config.json"

if TYPE_CHECKING:
    from multus.cli.commands.validate.validating import Report
    from multus.cli.findings import Finding
    from multus.registry.loading import Installed


STATUSES = {**statuses.CHECKING, 1: "there is an error or nothing to check, or the command failed"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="the same as -f FILE")
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="a file to check, or a folder with all below it; may be repeated; - is stdin",
    )
    parser.add_argument(
        "--net-d", default=NET_D, metavar="FOLDER", help="what to check without -f (%(default)s)"
    )
    parser.add_argument(
        "--off-node", action="store_true", help="this machine is not the node: do not look at it"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; the status is that of their sum."""
    from multus.cli.commands.validate.validating import validate
    from multus.registry.index import discover
    from multus.registry.loading import load

    paths = [*arguments.files, *arguments.file] or _of_node(arguments.net_d)
    here = not arguments.off_node and _is_node(arguments.net_d)
    installed = load(discover())
    telling.doing("checking")
    report = validate(paths, installed, here=here)
    if not arguments.files and not arguments.file:
        report = report.with_findings(_of_install(arguments.net_d, installed))
    tally = report.tally
    if arguments.json:
        wire = {
            "files": list(report.files),
            "checked": report.checked,
            "problems": tally.counts()["problems"],
            "notChecked": tally.counts()["notChecked"],
            "findings": [each.to_wire() for each in report.findings],
            "differences": [each.to_wire() for each in report.differences],
        }
        screen.as_json(wire)
    else:
        _show(report)
    return tally.status_off_node if arguments.off_node else tally.status


def _of_install(net_d: str, installed: Installed) -> list[Finding]:
    """What 'multus install' would refuse about this node's files."""
    from multus.cli.commands.install.configuration import require_first
    from multus.cli.commands.install.planning import Wanted, plan_for
    from multus.cli.findings import WARNING, of_error

    # What networks do not find is told of them.
    wanted = Wanted(net_d=os.path.abspath(net_d), bin_dir=BIN_DIR, force=True)
    try:
        require_first(wanted.conf_path)
        plan_for(wanted, installed, 0.0)
    except CNIError as error:
        return [of_error(error, "multus install would refuse this", WARNING)]
    return []


def _is_node(net_d: str) -> bool:
    """Whether the runtime of this machine calls Multus."""
    try:
        find_conf(net_d)
    except CNIError:
        return False
    return True


def _of_node(net_d: str) -> list[str]:
    """This node's configuration files: those of the runtime, and those that Multus loads."""
    paths = conf_files(net_d)
    try:
        conf = find_conf(net_d).config
    except CNIError:
        conf = {}
    conf_dir = conf.get("confDir", "/etc/cni/multus/net.d")
    if isinstance(conf_dir, str) and os.path.isdir(conf_dir):
        paths.append(conf_dir)
    daemon_config = os.path.join(net_d, _DAEMON_CONFIG)
    if os.path.isfile(daemon_config):
        paths.append(daemon_config)
    if not paths:
        raise InvalidConfig(
            f"{net_d} has no configuration",
            fix="run 'multus install', or pass files with -f",
        )
    return paths


def _show(report: Report) -> None:
    from multus.cli.findings import Finding

    shown = screen.Screen.open()
    for each in report.findings:
        shown.finding(each)
    if report.differences:
        _show_differences(shown, report)
    count = f"{report.checked} checked in {len(report.files)} file(s)"
    shown.finding(Finding(report.tally.severity, count, str(report.tally)))


def _show_differences(shown: screen.Screen, report: Report) -> None:
    """Each setting in a line, what differs below it, in 80 columns."""
    shown.heading(f"Different from the Go Multus: {len(report.differences)} of these settings")
    for each in report.differences:
        shown.line((each.subject, "bold"), f"  {each.place}")
        for line in _wrapped(each.text):
            shown.line(f"{_INDENT}{line}")
    shown.line()


def _wrapped(text: str) -> list[str]:
    plain = text.replace("`", "")
    return textwrap.wrap(plain, _COLUMNS - len(_INDENT), break_on_hyphens=False)
