"""A card of stand-ins on a node of its own, and what a runtime does with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from multus_invoker_sriov.invoker import SriovInvoker
from multus_invoker_sriov.sysfs import Sysfs

from multus.api.network import Invocation
from multus.api.result import Result
from multus.netlink import Namespace
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node
from multus.testing.sriov import Card

TODAY = {"type": "sriov", "cniVersion": "1.1.0", "name": "sriov-net"}


@frozen
class Bench:
    """The card, an invoker on it, a pod, and where the plugins keep their files."""

    card: Card
    invoker: SriovInvoker
    node: Node
    pod: Netns
    state: Path

    def config(self, **keys: Any) -> dict[str, Any]:
        """Today's configuration for VF 0, unless *keys* say otherwise."""
        which = {} if "if0" in keys else {"deviceID": self.card.vf(0)}
        if "ipam" in keys:
            keys["ipam"] = {"dataDir": str(self.state / "networks"), **keys["ipam"]}
        return {**TODAY, **which, "cniDir": str(self.state / "sriov"), **keys}

    def caller(self, container_id: str = "c1", ifname: str = "net1", args: str = "") -> Caller:
        return Caller(container_id, self.pod.path, ifname, args)

    def invocation(
        self, verb: str, config: dict[str, Any], result: Result | None = None, **who: Any
    ) -> Invocation:
        return self.caller(**who).invocation(verb, config, result)

    def add(self, config: dict[str, Any], **who: Any) -> Result:
        return self.invoker.add(self.invocation("ADD", config, **who))

    def delete(self, config: dict[str, Any], **who: Any) -> None:
        self.invoker.delete_one(self.invocation("DEL", config, **who))

    def told(self) -> list[str]:
        """What the card was told, in words, without the interface's index."""
        return [each.words.rpartition(" of interface")[0] for each in self.card.port.messages]

    def files(self) -> list[str]:
        """Marks, records and addresses: whatever is to be gone after DEL."""
        kept = ("lock", "last_reserved_ip")
        every = (path for path in self.state.rglob("*") if path.is_file())
        return sorted(
            str(path.relative_to(self.state))
            for path in every
            if not path.name.startswith(kept) and path.parent.name != "vf_lock"
        )

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """The host's links: name, MAC, MTU and whether they are up."""
        return {name: (link.mac, link.mtu, link.up) for name, link in self.node.links().items()}


@pytest.fixture
def bench(cni_node: Node, cni_pod: Netns, tmp_path: Path, request: Any) -> Iterator[Bench]:
    kind = getattr(request, "param", "veth")
    card = Card.build(str(tmp_path / "sys"), cni_node, vfs=3, kind=kind)
    invoker = SriovInvoker(card.sysfs(Sysfs), card.port)
    with Namespace(cni_node.path) as host, host.entered():
        yield Bench(card, invoker, cni_node, cni_pod, tmp_path / "state")


@pytest.fixture
def full_size(request: pytest.FixtureRequest) -> bool:
    """Whether every step is killed at, and not only some: ``--full-size``, where there is one."""
    return bool(request.config.getoption("--full-size", default=False))
