"""Reads a node: records of the journal, links and addresses of the node and of its pods.

The kernel decides what an interface is attached to; the record says which network it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from multus.api.errors import CNIError
from multus.netlink import Namespace, open_channel
from multus.picture import attaching, parents
from multus.picture.attaching import GONE, Attached, device_of
from multus.picture.model import Node, Pod, plural
from multus.picture.there import There, card_of
from multus.state.journal import Journal
from multus.state.liveness import lives

if TYPE_CHECKING:
    from multus.state.record import Record

_DEVICES = "/sys/bus/pci/devices"


def read(cni_dir: str, name: str = "", devices: str = _DEVICES) -> Node:
    """The node whose records are in *cni_dir*; what cannot be read is among its notes.

    *name* is the node's, for the title; *devices* is sysfs' folder of PCI devices.
    """
    notes: list[str] = []
    name = name or os.environ.get("MULTUS_NODE_NAME") or os.uname().nodename
    records = list(_records(cni_dir, notes))
    if not records:
        return Node(name, notes=tuple(notes))
    with ExitStack() as stack:
        host = There()
        own: Namespace | None = None
        try:
            own = stack.enter_context(Namespace.current())
            with open_channel() as channel:
                host = There.of(channel)
        except CNIError as error:
            notes.append(f"the node's links cannot be read: {error}")
        containers: dict[str, list[Record]] = {}
        for record in records:
            containers.setdefault(record.request.container_id, []).append(record)
        found = [_pod(each, host, own, devices) for each in containers.values()]
    attached = [each for _, several in found for each in several]
    unread = sum(bool(pod.problem) and pod.alive for pod, _ in found)
    notes += [f"{plural(unread, 'pod')}: each says why"] if unread else []
    pods = sorted((pod for pod, _ in found), key=lambda p: (p.namespace, p.name, p.container))
    return Node(name, tuple(pods), parents.of(host, attached, notes), tuple(dict.fromkeys(notes)))


def _records(cni_dir: str, notes: list[str]) -> Iterator[Record]:
    try:
        for each in Journal(cni_dir).records():
            if isinstance(each, CNIError):
                notes.append(f"a record cannot be read: {each}")
            else:
                yield each
    except CNIError as error:
        notes.append(f"the journal cannot be read: {error}")


def _pod(
    records: list[Record], host: There, own: Namespace | None, devices: str
) -> tuple[Pod, list[Attached]]:
    """The container of *records*: it has one for each time that a runtime has called Multus."""
    first, found, problems = records[0], [], []
    for record in records:
        inside, problem = _inside(record, own)
        problems += [problem] if problem else []
        problems += [f"its record is damaged: {record.damage}"] if record.damage else []
        for index in record.left():
            card = card_of(device_of(record, index), devices)
            found.append(attaching.attached(record, index, inside, host, card))
    # Not `request.pod`: podman gives a name without a namespace.
    pod = Pod(
        container=first.request.container_id,
        name=first.request.args.get("K8S_POD_NAME", ""),
        namespace=first.request.args.get("K8S_POD_NAMESPACE", ""),
        netns=first.request.netns,
        alive=GONE not in problems,
        started=min(each.started for each in records),
        interfaces=tuple(each.interface for each in found),
        problem="; ".join(dict.fromkeys(problems)),
    )
    return pod, found


def _inside(record: Record, own: Namespace | None) -> tuple[There | None, str]:
    """The pod's namespace; None and why, when it cannot be read."""
    if not lives(record):
        return None, GONE
    try:
        with Namespace(record.request.netns) as namespace, namespace.channel() as channel:
            return There.of(channel, own), ""
    except CNIError as error:
        return None, f"its namespace cannot be read: {error}"
