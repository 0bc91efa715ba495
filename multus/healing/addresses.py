"""Addresses of a cluster whose pods are gone: found, and freed.

An address is freed when its pod does not exist, in two looks that are a grace time apart, and is
not there when it is asked for once more.  What a node has is freed when the node does not exist,
and no pod of it.  The plugin's edits free what the container of then had:
an address that a newer container has taken over since stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError
from multus.api.kubernetes import NODES, PODS, Deadline, NotFound

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange, Allocation
    from multus.api.kubernetes import ObjectRef, Resource
    from multus.kube.client import KubeClient

#: The time for one page of pods, one look at a pod, and one edit; seconds.
_EACH = 15.0


class Suspect(NamedTuple):
    """An allocation that may be freed, of which range, and why."""

    range: AddressRange
    allocation: Allocation
    reason: str

    @property
    def key(self) -> tuple[str, ...]:
        """What is the same in two looks: another container is another suspect."""
        held = self.allocation
        return self.range.name, self.range.network, held.address, held.container, held.ifname


class Freed(NamedTuple):
    """What became of a suspect: freed, or the ``problem``."""

    suspect: Suspect
    problem: CNIError | None = None


def suspects(ranges: Sequence[AddressRange], client: KubeClient) -> list[Suspect]:
    """The allocations whose pod, or owner, does not exist; the pods are listed after *ranges*.

    Raises an error of the API server.
    """
    held = [(each, allocation) for each in ranges for allocation in each.allocations]
    if not held:
        return []
    look = _Look(client)
    found = []
    for each, allocation in held:
        reason = look.gone(allocation)
        if reason:
            found.append(Suspect(each, allocation, reason))
    return found


def free(chosen: Iterable[Suspect], client: KubeClient, *, force: bool = False) -> Iterator[Freed]:
    """Free each of *chosen*, unless its pod, or a newer container, has it by now.

    It goes on after an error.  With *force*, those of living pods are freed too.
    """
    for each in chosen:
        try:
            held = each.allocation
            if not force and _is_back(held, client):
                continue
            if _release(held, client):
                yield Freed(each)
        except CNIError as error:
            yield Freed(each, error)


def _release(held: Allocation, client: KubeClient) -> bool:
    """Make the edits that free it; returns whether they have freed something."""
    freed = False
    for edit in held.release:
        if not client.edit(edit, Deadline.after(_EACH)):
            break
        freed = True
    return freed


class _Look:
    """What exists, each kind listed, and each object read, once; it may raise at any time."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._listed: dict[Resource, set[str]] = {}
        self._owners: dict[ObjectRef, str] = {}

    def gone(self, allocation: Allocation) -> str:
        """Why an allocation may be freed; "" when it is in use, or nobody can say."""
        owner = allocation.owner
        if owner is not None:
            if owner not in self._owners:
                self._owners[owner] = self._without(owner)
            return self._owners[owner]
        if not allocation.pod or allocation.pod in self._all(PODS):
            return ""
        return f"pod {allocation.pod} does not exist"

    def _without(self, owner: ObjectRef) -> str:
        """Why an owner's allocations may be freed."""
        if owner.resource == NODES:
            # Each node has blocks: one list is less than a request for each.
            there = f"/{owner.name}" in self._all(NODES) or _has_pods(owner, self._client)
        else:
            there = _is_there(owner, self._client)
        return "" if there else f"{owner} does not exist"

    def _all(self, kind: Resource) -> set[str]:
        """All objects of a kind, as namespace/name; their metadata alone leaves the server."""
        if kind not in self._listed:
            pages = self._client.pages(kind, f"all {kind.plural}", _EACH, metadata_only=True)
            metadata = (each.get("metadata", {}) for page in pages for each in page.items)
            self._listed[kind] = {
                f"{each.get('namespace', '')}/{each.get('name')}" for each in metadata
            }
        return self._listed[kind]


def _is_back(held: Allocation, client: KubeClient) -> bool:
    """Whether the pod, or the node, exists by now; a claim is asked for in each look alone."""
    if held.owner is None:
        return _exists(held.pod, client)
    if held.owner.resource != NODES:
        return False
    return _is_there(held.owner, client) or _has_pods(held.owner, client)


def _has_pods(node: ObjectRef, client: KubeClient) -> bool:
    query = {"fieldSelector": f"spec.nodeName={node.name}"}
    what = f"pods of {node}"
    pages = client.pages(PODS, what, _EACH, query=query, metadata_only=True)
    return any(page.items for page in pages)


def _is_there(owner: ObjectRef, client: KubeClient) -> bool:
    """Whether an owner exists; True when nobody can say."""
    try:
        client.get(owner, Deadline.after(_EACH))
    except NotFound as error:
        return not error.kind_known
    return True


def _exists(pod: str, client: KubeClient) -> bool:
    namespace, _, name = pod.partition("/")
    try:
        client.pod(namespace, name, Deadline.after(_EACH))
    except NotFound as error:
        if not error.kind_known:
            raise  # not the API server's own answer, but a proxy's page for instance
        return False
    return True
