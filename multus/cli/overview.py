"""A node at a glance: who serves its calls, what is attached, how full ranges are, what is wrong.

It looks at files, the daemon's socket and the API server, each within a bounded time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from multus import __version__
from multus.api.errors import AddressesExhausted, CNIError
from multus.cli import ranges
from multus.cli.attachments import described
from multus.cli.commands.doctor import offered
from multus.cli.commands.doctor.examine import node_at
from multus.cli.commands.doctor.places import Places
from multus.cli.findings import AS_ROOT, ERROR, UNCHECKED, WARNING, Finding, Tally, of_error
from multus.cli.recent import failed_requests
from multus.state.journal import Journal

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.cli.commands.doctor.places import Node
    from multus.ipam.usage import Usage
    from multus.state.record import Record

#: How long the API server and the daemon may take, in seconds.
PATIENCE = 0.6


@frozen
class Paths:
    """Where to look; ``root`` is where the node's file system is mounted, "" on the node."""

    net_d: str
    bin_dir: str
    socket: str
    conf: str = ""
    root: str = ""

    def at(self, path: str) -> str:
        return f"{self.root}{path}" if path.startswith("/") else path


@frozen
class Overview:
    """What was found.  ``networks`` maps each to the number of its attachments, by state.

    ``unread``: there may be a configuration, and it cannot be read.
    """

    node: str
    cni_dir: str
    file: str = ""
    unread: bool = False
    default: str = ""
    service: str = ""
    api: str = ""
    containers: int = 0
    networks: Mapping[str, Mapping[str, int]] = field(factory=dict)
    ranges: tuple[Usage, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def attached(self) -> str:
        """What is attached, for people."""
        if any(each.subject == "journal" and each.severity == UNCHECKED for each in self.findings):
            return "not known"
        count = sum(sum(each.values()) for each in self.networks.values())
        return f"{count} network(s) of {self.containers} container(s)"

    @property
    def status(self) -> int:
        """The exit status of ``multus status``; see ``multus.cli.findings.Tally``."""
        return Tally(self.findings).status

    def to_wire(self) -> dict[str, Any]:
        """As ``multus status --json`` prints it."""
        return {
            "node": self.node,
            "version": __version__,
            "configuration": self.file,
            "defaultNetwork": self.default,
            "service": self.service,
            "api": self.api,
            "containers": self.containers,
            "networks": {name: dict(counts) for name, counts in self.networks.items()},
            "ranges": [each._asdict() for each in self.ranges],
            "findings": [each.to_wire() for each in self.findings],
        }


def look(paths: Paths) -> Overview:
    """Look at the node once."""
    node = _node(paths)
    conf, file = node.conf, node.file
    findings = _what_calls_need(node)
    service = _service(paths, node, findings)
    api = _api(paths, conf, findings)
    records = _records(node, findings)
    networks: dict[str, dict[str, int]] = {}
    for record in records:
        for each in described(record)["attachments"]:
            counts = networks.setdefault(each["network"], {})
            counts[each["state"]] = counts.get(each["state"], 0) + 1
    used, unread = ranges.in_use(offered.plugins(node), records, "range", paths.root)
    findings += [*unread, *ranges.full(used, "range")]
    _queued(paths, conf, findings)
    findings += failed_requests(paths.at(conf.cni_dir))
    return Overview(
        node=os.environ.get("MULTUS_NODE_NAME") or os.uname().nodename,
        cni_dir=conf.cni_dir,
        file=file,
        default=_default(conf) if file else "",
        unread=node.unread is not None,
        service=service,
        api=api,
        containers=len({record.request.container_id for record in records}),
        networks={name: networks[name] for name in sorted(networks)},
        ranges=used,
        findings=tuple(findings),
    )


def _node(paths: Paths) -> Node:
    """The node as doctor looks at it."""
    places = Places(root=paths.root, net_d=paths.net_d, bin_dir=paths.bin_dir, socket=paths.socket)
    return node_at(places, paths.conf)


def _what_calls_need(node: Node) -> list[Finding]:
    """What is wrong with what each call needs: a part of what doctor looks at."""
    from multus.cli.commands.doctor import configuration, programs, state

    findings = [*configuration.look(node), *programs.brief(node), *state.disk(node)]
    told: tuple[str, ...] = (ERROR, WARNING)
    # The node's links are not seen from a container: that is for doctor to say.
    told = told if node.places.root else (*told, UNCHECKED)
    return [
        each
        for each in findings
        # A full range is told with its bar.
        if each.severity in told and each.code != AddressesExhausted.code
    ]


def _service(paths: Paths, node: Node, findings: list[Finding]) -> str:
    """Who carries calls out, for people."""
    from multus.cli import engines
    from multus.cli.commands.doctor.programs import absent, control, said_of
    from multus.daemon.wire import Malformed

    here = paths.at(paths.socket)
    try:
        is_there = bool(os.lstat(here))
    except PermissionError as error:
        reason = f"{paths.socket} cannot be looked at: {error.strerror}"
        findings.append(Finding(UNCHECKED, "daemon", reason, AS_ROOT, code=11))
        return "not known"
    except OSError:
        is_there = False
    if not is_there:
        lack = absent(node, paths.socket)
        if lack.severity == ERROR:
            findings.append(lack)
            return "no daemon"
        warm = any(each.process > 0 for each in engines.found(os.path.dirname(here)))
        return "no daemon, a warm engine" if warm else "no daemon, a process for each call"
    try:
        status, said = control(here, b"ready", PATIENCE)
    except (OSError, Malformed) as error:
        severity = UNCHECKED if isinstance(error, PermissionError) else ERROR
        fix = AS_ROOT if severity == UNCHECKED else "restart 'multus daemon'"
        findings.append(
            Finding(severity, "daemon", f"{paths.socket}: {said_of(error)}", fix, code=11)
        )
        return "a daemon that does not answer"
    if status:
        findings.append(Finding(ERROR, "daemon", f"not ready: {said.strip()}", "see its log"))
        return "a daemon that is not ready"
    return f"the daemon at {paths.socket}"


def _api(paths: Paths, conf: Conf, findings: list[Finding]) -> str:
    path = conf.raw.get("kubeconfig")
    if not isinstance(path, str) or not path:
        return "not used"
    try:
        from multus.api.kubernetes import Deadline
        from multus.kube.kubeconfig import load_kubeconfig
        from multus.kube.transport import HttpClient

        access = load_kubeconfig(paths.at(path))
        client = HttpClient(access)
        try:
            client.call("GET", "/version", "ask for its version", Deadline.after(PATIENCE))
        finally:
            client.close()
    except CNIError as error:
        findings.append(of_error(error, "API server"))
        return "does not answer"
    except ModuleNotFoundError as error:
        reason = f"not asked: {error.name} is not installed"
        findings.append(Finding(UNCHECKED, "API server", reason, "pip install 'multus[kube]'"))
        return "not asked"
    return f"{access.cluster.server} answers"


def _records(node: Node, findings: list[Finding]) -> list[Record]:
    from multus.cli.commands.doctor.state import about_record

    journal, found = Journal(node.places.at(node.conf.cni_dir)), []
    try:
        for each in journal.records():
            if isinstance(each, CNIError):
                findings.append(of_error(each, "journal"))
            else:
                found.append(each)
                findings.extend(about_record(each, node))
        for path, _ in journal.stuck():
            reason = f"{path}: a network that could not be removed"
            findings.append(Finding(ERROR, "journal", reason, "'multus doctor' says what to do"))
    except CNIError as error:
        findings.append(of_error(error, "journal"))
    return found


def _default(conf: Conf) -> str:
    """The node's default network as its configuration names it; "" when a pod's networks say it."""
    cluster = conf.raw.get("clusterNetwork")
    if isinstance(cluster, str) and cluster:
        return cluster
    listed = conf.raw.get("delegates")
    delegates = [each for each in listed if isinstance(each, dict)] if listed else []
    primary = next((each for each in delegates if each.get("masterplugin")), None)
    chosen = primary or (delegates[0] if delegates else {})
    return str(chosen.get("name") or chosen.get("type") or "")


def _queued(paths: Paths, conf: Conf, findings: list[Finding]) -> None:
    """DELs that wait for the daemon, and changes of API objects that wait for the API server."""
    cni_dir = paths.at(conf.cni_dir)
    _count(f"{cni_dir}/.spool", "DEL(s) wait for the daemon", findings)
    _count(f"{cni_dir}/.edits", "change(s) of API objects wait for the API server", findings)


def _count(folder: str, what: str, findings: list[Finding]) -> None:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    # A file of the spool is <number>.<container>, one of edits is <number>, or the reason for one.
    count = sum(name[:1].isdecimal() and not name.endswith(".refused") for name in names)
    if count:
        reason = f"{count} {what}"
        findings.append(Finding(WARNING, "kept DELs", reason, "'multus doctor' lists them"))
