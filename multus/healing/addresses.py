"""Addresses of a cluster whose pods are gone: found, and freed.

An address is freed when its pod, or its owner, does not exist, in two looks that are a grace time
apart, and is not there when it is asked for once more.  The plugin's edits free what the container
of then had: an address that a newer container has taken over since stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError
from multus.api.kubernetes import PODS, ApiFailure, Deadline, NotFound

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
    """The suspects of one look, and why of some allocations nobody knows whether they are."""

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
    living, owners = _living(client), _Owners(client)
    found = []
    for each, allocation in held:
        if allocation.owner is not None:
            reason = owners.gone(allocation.owner)
        elif not allocation.pod or allocation.pod in living:
            reason = ""
        else:
            reason = f"pod {allocation.pod} does not exist"
        if reason:
            found.append(Suspect(each, allocation, reason))
    return Found(found, owners.problems)


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


def _living(client: KubeClient) -> set[str]:
    """All pods, as namespace/name; their metadata alone leaves the server."""
    return {
        f"{metadata.get('namespace')}/{metadata.get('name')}"
        for page in client.pages(PODS, "all pods", _EACH, metadata_only=True)
        for metadata in (each.get("metadata", {}) for each in page.items)
    }


class _Owners:
    """Which owners of allocations do not exist; each is asked for once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[ObjectRef, str] = {}
        self._untold: set[Resource] = set()
        self.problems: list[CNIError] = []

    def gone(self, owner: ObjectRef) -> str:
        """Why its allocations may be freed; "" when it exists, or nobody can say."""
        if owner not in self._known:
            self._known[owner] = "" if owner.resource in self._untold else self._ask(owner)
        return self._known[owner]

    def _ask(self, owner: ObjectRef) -> str:
        try:
            self._client.get(owner, Deadline.after(_EACH))
        except NotFound as error:
            if error.kind_known:
                return f"{owner} does not exist"
            self._miss(owner, error)
        except ApiFailure as error:
            self._miss(owner, error)
        return ""

    def _miss(self, owner: ObjectRef, error: ApiFailure) -> None:
        self.problems.append(error)
        if error.lasts:
            self._untold.add(owner.resource)  # all of this kind would be answered so


def _exists(held: Allocation, client: KubeClient) -> bool:
    """Whether the pod, or the owner, exists; a pod's name alone says nothing of an owner."""
    namespace, _, name = held.pod.partition("/")
    try:
        if held.owner is not None:
            client.get(held.owner, Deadline.after(_EACH))
        else:
            client.pod(namespace, name, Deadline.after(_EACH))
    except NotFound as error:
        if not error.kind_known:
            raise  # not the API server's own answer, but a proxy's page for instance
        return False
    return True
