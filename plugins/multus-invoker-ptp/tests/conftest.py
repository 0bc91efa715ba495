"""A namespace that plays the host, pods beside it, and the invoker between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from multus_invoker_ptp.invoker import Ptp

from multus.api.invoker import Invoker
from multus.api.result import Result
from multus.netlink import Namespace
from multus.testing.faults import Damaging
from multus.testing.invocation import Caller
from multus.testing.netns import HostState, Netns, Node
from multus.testing.session import new_session


@frozen
class Host:
    """The host's namespace, and a folder for the addresses that are handed out."""

    node: Node
    inside: Namespace
    folder: Path
    empty: HostState

    def config(self, *sets: list[dict[str, str]], **more: Any) -> dict[str, Any]:
        """A ptp network with host-local addresses out of these sets, each with a default route."""
        families = ["::/0" if ":" in one[0]["subnet"] else "0.0.0.0/0" for one in sets]
        pool = {
            "type": "host-local",
            "dataDir": str(self.folder),
            "ranges": list(sets),
            "routes": [{"dst": each} for each in dict.fromkeys(families)],
        }
        return {"cniVersion": "1.0.0", "name": "ptpnet", "type": "ptp", "ipam": pool, **more}

    def add(self, caller: Caller, config: dict[str, Any], invoker: Invoker | None = None) -> Result:
        with self.inside.entered(), new_session() as session:
            return (invoker or Ptp()).add(caller.invocation("ADD", config, session=session))

    def delete(
        self,
        caller: Caller,
        config: dict[str, Any],
        result: Result | None = None,
        invoker: Invoker | None = None,
    ) -> None:
        with self.inside.entered():
            (invoker or Ptp()).delete_one(caller.invocation("DEL", config, result))

    def check(self, caller: Caller, config: dict[str, Any], result: Result | None) -> None:
        with self.inside.entered():
            Ptp().check(caller.invocation("CHECK", config, result))

    def left(self) -> list[str]:
        """What is here and was not at first: links, addresses, routes, rules and files."""
        return self.empty.difference(self.node.state(str(self.folder)))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    node = Node.create("ptphost")
    folder = tmp_path / "networks"
    folder.mkdir()
    try:
        # iptables never takes its tables away again; the host has them from the beginning.
        for program in ("iptables", "ip6tables"):
            for change in ("-A", "-D"):
                node.run(program, "-t", "nat", change, "POSTROUTING", "-j", "ACCEPT")
        with Namespace(node.path) as inside:
            yield Host(node, inside, folder, node.state(str(folder)))
    finally:
        node.remove()


@pytest.fixture
def new_pod() -> Iterator[Callable[[], Netns]]:
    with ExitStack() as stack:

        def create() -> Netns:
            netns = Netns.create("ptppod")
            stack.callback(netns.remove)
            return netns

        yield create


@pytest.fixture
def pod(new_pod: Callable[[], Netns]) -> Netns:
    return new_pod()


@pytest.fixture
def caller(pod: Netns) -> Caller:
    return Caller("container1", pod.path)


@pytest.fixture
def damaging() -> type[Damaging]:
    return Damaging
