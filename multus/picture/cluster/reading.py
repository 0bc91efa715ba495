"""Reads a cluster: one list of all pods, in pages, of which only metadata and columns are sent.

The API server is asked for the table that ``kubectl get pods`` shows: each row has the pod's
metadata, and the name of its node in a column.  Specifications, with all their secrets, stay there.

Source: kubernetes.io, "Receiving resources as Tables"; NPWG standard 1.3, section 5.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.kubernetes import PODS, VersionExpired
from multus.kube.decoding import decode, metadata_of
from multus.picture.cluster.model import Attached, Cluster, Duplicate, Holder, Waiting, in_order

if TYPE_CHECKING:
    from multus.kube.client import KubeClient, ListPage

STATUS = "k8s.v1.cni.cncf.io/network-status"
ASKED = "k8s.v1.cni.cncf.io/networks"

#: Pods that have ended hold no addresses.
_ALIVE = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
#: So many attachments and waiting pods are listed, and so many notes; about 50 MiB at most.
MOST, _MOST_WAITING, _MOST_NOTES = 50_000, 1000, 20
#: Of a pod's status so many entries are read, and so many characters of what it asked for.
_MOST_ENTRIES, _LONGEST = 64, 200


class Row(NamedTuple):
    """A pod of the list: its metadata, and its node ("" when it has none)."""

    metadata: Mapping[str, Any]
    node: str


def read(client: KubeClient, seconds: float = 10.0) -> Cluster:
    """The cluster of *client*; each page of the list may take *seconds*.

    Raises ``CNIError`` when the API server does not answer, or refuses.
    """
    try:
        return _read(client, seconds)
    except VersionExpired:
        # The server has forgotten the list between two pages: the next one begins anew.
        return _read(client, seconds)


def _read(client: KubeClient, seconds: float) -> Cluster:
    gathered = _Gathered()
    pages = client.pages(PODS, "pods", seconds, query=_ALIVE, table=True)
    for page in pages:
        for row in rows_of(page):
            gathered.take(row)
        del page  # before the next is read
    return gathered.cluster(client.server)


def rows_of(page: ListPage) -> Iterator[Row]:
    """The pods of a page: a table, or whole objects from a server that knows no tables."""
    columns, rows = page.wire.get("columnDefinitions"), page.wire.get("rows")
    if not isinstance(rows, list):
        for item in page.items:
            spec = item.get("spec") if isinstance(item, dict) else None
            node = spec.get("nodeName") if isinstance(spec, dict) else None
            yield Row(metadata_of(item), node if isinstance(node, str) else "")
        return
    names = [each.get("name") for each in columns if isinstance(each, dict)] if columns else []
    at = names.index("Node") if "Node" in names else -1
    for row in rows:
        cells = row.get("cells") if isinstance(row, dict) else None
        node = cells[at] if isinstance(cells, list) and 0 <= at < len(cells) else ""
        # kubectl prints "<none>" for a pod that has no node yet.
        known = isinstance(node, str) and not node.startswith("<")
        yield Row(
            metadata_of(row.get("object")) if cells is not None else {}, node if known else ""
        )


class _Gathered:
    """What was read so far; it keeps no more than ``MOST`` attachments."""

    def __init__(self) -> None:
        self.pods = self.unlisted = self.unnoted = 0
        self.counts: dict[str, dict[str, int]] = {}
        self.attached: list[Attached] = []
        self.waiting: list[Waiting] = []
        self.notes: list[str] = []

    def take(self, row: Row) -> None:
        annotations = row.metadata.get("annotations")
        annotations = annotations if isinstance(annotations, Mapping) else {}
        pod = f"{row.metadata.get('namespace', '')}/{row.metadata.get('name', '')}"
        status, asked = annotations.get(STATUS), annotations.get(ASKED)
        if isinstance(status, str) and status.strip():
            self.pods += 1
            self._status(pod, row.node, status)
        elif isinstance(asked, str) and asked.strip() and row.node:
            self._waits(row, Holder(pod, node=row.node), asked)

    def _waits(self, row: Row, holder: Holder, asked: str) -> None:
        if len(self.waiting) < _MOST_WAITING:
            created = str(row.metadata.get("creationTimestamp") or "")
            self.waiting.append(Waiting(holder, " ".join(asked.split())[:_LONGEST], created))
        else:
            self._note(f"pod {holder.pod} has no status")

    def _status(self, pod: str, node: str, text: str) -> None:
        try:
            entries = decode(text.encode(errors="replace"))
        except ValueError:
            entries = None
        if not isinstance(entries, list):
            self._note(f"pod {pod}: its network-status annotation is not a JSON list")
            return
        if len(entries) > _MOST_ENTRIES:
            self._note(f"pod {pod}: only {_MOST_ENTRIES} of {len(entries)} networks are shown")
        for entry in entries[:_MOST_ENTRIES]:
            if isinstance(entry, dict):
                self._attached(pod, node, entry)
            else:
                self._note(f"pod {pod}: an entry of its network-status is not an object")

    def _attached(self, pod: str, node: str, entry: Mapping[str, Any]) -> None:
        network = str(entry.get("name") or "?")[:_LONGEST]
        counts = self.counts.setdefault(node or "?", {})
        counts[network] = counts.get(network, 0) + 1
        if len(self.attached) >= MOST:
            self.unlisted += 1
            return
        ips = entry.get("ips")
        addresses = tuple(map(_plain, ips[:_MOST_ENTRIES])) if isinstance(ips, list) else ()
        holder = Holder(pod, str(entry.get("interface") or "")[:_LONGEST], node)
        mac = str(entry.get("mac") or "")[:_LONGEST]
        self.attached.append(Attached(network, holder, addresses, mac))

    def _note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
        else:
            self.unnoted += 1

    def cluster(self, name: str) -> Cluster:
        notes = list(self.notes)
        if self.unnoted:
            notes.append(f"{self.unnoted} more of such notes")
        if self.unlisted:
            notes.append(
                f"{self.unlisted} attachments are counted and not listed: their addresses were not"
                " compared"
            )
        return Cluster(
            name=name,
            pods=self.pods,
            counts=self.counts,
            attached=in_order(self.attached),
            duplicates=duplicates(self.attached),
            waiting=tuple(self.waiting),
            unlisted=self.unlisted,
            notes=tuple(notes),
            moment=time.time(),
        )


def duplicates(attached: list[Attached]) -> tuple[Duplicate, ...]:
    """The addresses that more than one pod has in a network, in its order."""
    holders: dict[tuple[str, str], list[Holder]] = {}
    for each in attached:
        for address in each.addresses:
            holders.setdefault((each.network, address), []).append(each.holder)
    return tuple(
        Duplicate(network, address, tuple(sorted(found)))
        for (network, address), found in sorted(holders.items())
        if len({each.pod for each in found}) > 1
    )


def _plain(value: object) -> str:
    """An address in its one form, without a prefix length; what is none as it is."""
    import ipaddress

    text = str(value).partition("/")[0][:_LONGEST]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def open_client(kubeconfig: str, context: str = "") -> KubeClient:
    """A client with the access that a kubeconfig gives; close it when done."""
    from multus.kube.client import KubeClient
    from multus.kube.kubeconfig import load_kubeconfig

    return KubeClient(load_kubeconfig(kubeconfig, context))
