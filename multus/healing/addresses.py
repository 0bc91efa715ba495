"""Addresses of a cluster whose pods are gone: found, and freed.

An address is freed when its pod does not exist, in two looks that are a grace time apart, and is
not there when it is asked for once more.  The plugin's edits free what the container of then had:
an address that a newer container has taken over since stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError
from multus.api.kubernetes import PODS, Deadline, NotFound

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange, Allocation
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
    living = _living(client)
    found = []
    for each, allocation in held:
        reason = _gone(allocation, living, client)
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
            if not force and held.owner is None and _exists(held.pod, client):
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


def _living(client: KubeClient) -> set[str]:
    """All pods, as namespace/name; their metadata alone leaves the server."""
    return {
        f"{metadata.get('namespace')}/{metadata.get('name')}"
        for page in client.pages(PODS, "all pods", _EACH, metadata_only=True)
        for metadata in (each.get("metadata", {}) for each in page.items)
    }


def _gone(allocation: Allocation, living: set[str], client: KubeClient) -> str:
    """Why an allocation may be freed; "" when it is in use, or nobody can say."""
    if allocation.owner is not None:
        try:
            client.get(allocation.owner, Deadline.after(_EACH))
        except NotFound as error:
            return f"{allocation.owner} does not exist" if error.kind_known else ""
        return ""
    if not allocation.pod or allocation.pod in living:
        return ""
    return f"pod {allocation.pod} does not exist"


def _exists(pod: str, client: KubeClient) -> bool:
    namespace, _, name = pod.partition("/")
    try:
        client.pod(namespace, name, Deadline.after(_EACH))
    except NotFound as error:
        if not error.kind_known:
            raise  # not the API server's own answer, but a proxy's page for instance
        return False
    return True
