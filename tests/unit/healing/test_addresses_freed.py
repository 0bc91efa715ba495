"""Freeing addresses of pods that are gone: what is said to be freed was freed."""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field

from multus.api.allocations import AddressRange, Allocation
from multus.api.kubernetes import NODES, ApiFailure, Deadline, Edit, NotFound, Resource
from multus.healing.addresses import Freed, Suspect, free, suspects
from multus.kube.client import KubeClient

POOL = Resource("example.org", "v1", "pools").object("default", "a")
HELD = Allocation(
    "10.0.0.1",
    "default/web",
    "net1",
    "old",
    release=(Edit(POOL, "example:release", {}), Edit(POOL, "example:forget", {})),
)
SUSPECT = Suspect(AddressRange("10.0.0.0/24", "", 254, (HELD,)), HELD, "it is gone")


@define
class Client:
    """An API server without the pod; edits get *answer*."""

    answer: Any
    kind_known: bool = True
    edits: list[str] = field(factory=list)

    def pod(self, namespace: str, name: str, deadline: Deadline) -> None:
        raise NotFound("HTTP 404", self.kind_known)

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        self.edits.append(edit.function)
        return self.answer

    def freed(self) -> list[Freed]:
        return list(free([SUSPECT], cast(KubeClient, self)))


def test_an_address_of_a_pod_that_is_gone_is_freed() -> None:
    client = Client({"1": "default/web"})
    assert client.freed() == [Freed(SUSPECT)]
    assert client.edits == ["example:release", "example:forget"]


def test_what_a_newer_container_has_taken_over_is_not_said_to_be_freed() -> None:
    client = Client({})
    (done,) = client.freed()
    assert done.kept == "it is not allocated to this container any more"
    assert client.edits == ["example:release"]


def test_a_404_that_is_not_the_api_servers_frees_nothing() -> None:
    client = Client({"1": "default/web"}, kind_known=False)
    (done,) = client.freed()
    assert done.problem is not None
    assert client.edits == []


@define
class Overloaded:
    """An API server that lists no nodes at the moment."""

    lists: int = 0

    def pages(self, kind: Resource, what: str, seconds: float, **_: Any) -> Any:
        self.lists += 1
        raise ApiFailure("HTTP 503", status=503)


def test_nodes_that_cannot_be_listed_are_not_listed_again_for_each_of_them() -> None:
    of_nodes = [
        Allocation(f"10.0.{n}.0/24", "", "", f"n{n}", owner=NODES.object("", f"n{n}"))
        for n in range(3)
    ]
    server = Overloaded()
    found = suspects(
        [AddressRange("10.0.0.0/16", "", 1, tuple(of_nodes))], cast(KubeClient, server)
    )
    assert (found.suspects, len(found.problems), server.lists) == ([], 1, 1)
