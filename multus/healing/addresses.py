"""Addresses of a cluster whose pods are gone: found, and freed.

An address is freed when its pod, or its owner, does not exist, in two looks that are a grace time
apart, and is not there when it is asked for once more.  What a node has is freed when neither the
node nor a pod of it exists.  The plugin's edits free what the container of then had: an address
that a newer container has taken over since stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError
from multus.api.kubernetes import NODES, PODS, ApiFailure, Deadline, NotFound

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


class Found(NamedTuple):
    """The suspects of one look, and why some allocations could not be judged."""

    suspects: list[Suspect]
    problems: list[CNIError]


class Freed(NamedTuple):
    """What became of a suspect: freed, ``kept`` for a reason, or the ``problem``."""

    suspect: Suspect
    problem: CNIError | None = None
    kept: str = ""


def suspects(ranges: Sequence[AddressRange], client: KubeClient) -> Found:
    """The allocations whose pod, or owner, does not exist; the pods are listed after *ranges*.

    An owner that the API server does not tell about is a problem of its allocations alone.  Raises
    an error for a server that does not answer, or does not list the pods.
    """
    held = [(each, allocation) for each in ranges for allocation in each.allocations]
    if not held:
        return Found([], [])
    look = _Look(client)
    found = [
        Suspect(each, allocation, reason)
        for each, allocation in held
        if (reason := look.gone(allocation))
    ]
    return Found(found, look.problems)


def free(chosen: Iterable[Suspect], client: KubeClient, *, force: bool = False) -> Iterator[Freed]:
    """Free each of *chosen*, unless its pod, its owner or a newer container has it by now.

    It goes on after an error.  With *force*, those of living pods are freed too.
    """
    for each in chosen:
        held = each.allocation
        try:
            if not force and _exists(held, client):
                yield Freed(each, kept=f"{held.owner or f'pod {held.pod}'} exists by now")
            elif not _release(held, client):
                yield Freed(each, kept="it is not allocated to this container any more")
            else:
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
    """What exists; each kind is listed, and each owner asked for, once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._listed: dict[Resource, set[str]] = {}
        self._known: dict[ObjectRef, str] = {}
        self._untold: set[Resource] = set()
        self.problems: list[CNIError] = []

    def gone(self, allocation: Allocation) -> str:
        """Why an allocation may be freed; "" when it is in use, or when that is not known."""
        owner = allocation.owner
        if owner is None:
            there = not allocation.pod or allocation.pod in self._all(PODS)
            return "" if there else f"pod {allocation.pod} does not exist"
        if owner not in self._known:
            self._known[owner] = "" if owner.resource in self._untold else self._ask(owner)
        return self._known[owner]

    def _ask(self, owner: ObjectRef) -> str:
        listing = owner.resource == NODES and NODES not in self._listed
        try:
            # Each node has blocks: one list is less than a request for each.
            listed = owner.resource == NODES and f"/{owner.name}" in self._all(NODES)
            return "" if listed or _is_there(owner, self._client) else f"{owner} does not exist"
        except ApiFailure as error:
            self.problems.append(error)
            if error.lasts or (listing and NODES not in self._listed):
                self._untold.add(owner.resource)  # all of this kind would be answered so
        return ""

    def _all(self, kind: Resource) -> set[str]:
        """All objects of a kind, as namespace/name; their metadata alone leaves the server."""
        if kind not in self._listed:
            pages = self._client.pages(kind, f"all {kind.plural}", _EACH, metadata_only=True)
            metadata = (each.get("metadata", {}) for page in pages for each in page.items)
            self._listed[kind] = {
                f"{each.get('namespace', '')}/{each.get('name')}" for each in metadata
            }
        return self._listed[kind]


def _exists(held: Allocation, client: KubeClient) -> bool:
    """Whether the pod, or the owner, exists; a pod's name alone says nothing of an owner."""
    if held.owner is not None:
        return _is_there(held.owner, client)
    namespace, _, name = held.pod.partition("/")
    return _found(lambda: client.pod(namespace, name, Deadline.after(_EACH)))


def _is_there(owner: ObjectRef, client: KubeClient) -> bool:
    """Whether an owner, or a pod of a node, exists."""
    if _found(lambda: client.get(owner, Deadline.after(_EACH))):
        return True
    return owner.resource == NODES and _has_pods(owner, client)


def _has_pods(node: ObjectRef, client: KubeClient) -> bool:
    query = {"fieldSelector": f"spec.nodeName={node.name}"}
    pages = client.pages(PODS, f"pods of {node}", _EACH, query=query, metadata_only=True)
    return any(page.items for page in pages)


def _found(read: Callable[[], object]) -> bool:
    """Whether *read* finds its object; raises when the API server has not said so itself."""
    try:
        read()
    except NotFound as error:
        if not error.kind_known:
            raise  # a proxy's page for instance
        return False
    return True
