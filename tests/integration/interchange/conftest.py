"""The reference plugins and the in-process ones, each on its own host, with a common interface."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen
from waiting import eventually

from multus.api.invoker import Invoker
from multus.api.result import Result
from multus.netlink import Namespace
from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.invocation import Caller
from multus.testing.netns import HostState, Netns, Node
from multus.testing.runtime import Container, Runtime

if TYPE_CHECKING:
    from multus.api.network import Invocation

#: The module of each type's invoker.
MODULES = {
    "ptp": "multus_invoker_ptp",
    "bridge": "multus_invoker_bridge",
    "tuning": "multus_invoker_tuning",
    "flannel": "multus_invoker_flannel",
    "portmap": "multus_invoker_portmap",
    **dict.fromkeys(("macvlan", "ipvlan", "vlan", "dummy"), "multus_invoker_vlans"),
}
for _module in set(MODULES.values()):
    pytest.importorskip(_module)

Json = dict[str, Any]

_MAC = re.compile(r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$")
_HOST_END = re.compile(r"^veth[0-9a-f]{8}$")
_LINK_LOCAL = re.compile(r"^fe80::[0-9a-f:]+")


@frozen
class Place:
    """A host, a pod, a folder for addresses, and the initial state of the host."""

    node: Node
    pod: Netns
    folder: Path
    empty: HostState

    @property
    def caller(self) -> Caller:
        return Caller("interchange1", self.pod.path)

    def left(self) -> list[str]:
        """Everything that was added since the start."""
        return self.empty.difference(self.node.state(str(self.folder)))

    def seen(self) -> Json:
        """Links, addresses and routes of both ends, without random values."""
        self._settle()
        return {
            name: {
                what: _comparable(netns.ip(*arguments))
                for what, arguments in {
                    "link": ("link", "show"),
                    "address": ("address", "show"),
                    "route": ("-4", "route", "show", "table", "all"),
                    "route6": ("-6", "route", "show", "table", "all"),
                    "rule": ("-4", "rule", "show"),
                }.items()
            }
            for name, netns in (("host", self.node), ("container", self.pod))
        }

    def comparable(self, result: Json) -> Any:
        """A result without random values."""
        return _comparable(json.loads(json.dumps(result).replace(self.pod.path, "CONTAINER")))

    def _settle(self) -> None:
        def settled() -> bool:
            shown = [json.dumps(netns.ip("address")) for netns in (self.node, self.pod)]
            return not any('"tentative"' in each for each in shown)

        eventually(settled)


class Side:
    """The interface of both implementations."""

    name = ""

    def add(self, place: Place, config: Json, previous: Json | None = None) -> Json:
        """ADD; *previous* is the result of the plugin before it in a chain."""
        raise NotImplementedError

    def check(self, place: Place, config: Json, result: Json) -> None:
        raise NotImplementedError

    def delete(self, place: Place, config: Json, result: Json | None = None) -> None:
        raise NotImplementedError


class Ours(Side):
    """In-process, with the calling thread in the host's namespace."""

    name = "ours"

    def add(self, place: Place, config: Json, previous: Json | None = None) -> Json:
        before = None if previous is None else Result.from_wire(previous)
        with Namespace(place.node.path) as host, host.entered():
            invocation = place.caller.invocation("ADD", config, before)
            with invocation.session:
                result = self.invoker(invocation).add(invocation)
        return result.to_wire(config["cniVersion"])

    def check(self, place: Place, config: Json, result: Json) -> None:
        with Namespace(place.node.path) as host, host.entered():
            previous = Result.from_wire(result)
            invocation = place.caller.invocation("CHECK", config, previous)
            self.invoker(invocation).check(invocation)

    def delete(self, place: Place, config: Json, result: Json | None = None) -> None:
        previous = None if result is None else Result.from_wire(result)
        with Namespace(place.node.path) as host, host.entered():
            invocation = place.caller.invocation("DEL", config, previous)
            self.invoker(invocation).delete_one(invocation)

    def invoker(self, invocation: Invocation) -> Invoker:
        """What carries this invocation out."""
        module = import_module(MODULES[invocation.plugin.type])
        offer = module.multus_invoker(invocation.plugin, invocation.delegate, invocation.conf)
        assert isinstance(offer, Invoker), offer
        return offer


class Reference(Side):
    """The binary of containernetworking-plugins."""

    name = "reference"

    def add(self, place: Place, config: Json, previous: Json | None = None) -> Json:
        whole = config if previous is None else {**config, "prevResult": previous}
        return self._runtime(place, config).add(whole, self._container(place)).result

    def check(self, place: Place, config: Json, result: Json) -> None:
        self._runtime(place, config).check(config, self._container(place), result).require()

    def delete(self, place: Place, config: Json, result: Json | None = None) -> None:
        self._runtime(place, config).delete(config, self._container(place), result).require()

    def _runtime(self, place: Place, config: Json) -> Runtime:
        for folder in SYSTEM_FOLDERS:
            program = f"{folder}/{config['type']}"
            if os.access(program, os.X_OK):
                return Runtime((program,), ":".join(SYSTEM_FOLDERS), place.node)
        pytest.skip(f"the reference plugin {config['type']} is not on this machine")

    def _container(self, place: Place) -> Container:
        return Container(place.caller.netns, place.caller.container_id, place.caller.ifname)


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[Callable[[], Place]]:
    with ExitStack() as stack:
        made: list[Place] = []

        def create() -> Place:
            node, pod = Node.create("ichost"), Netns.create("icpod")
            stack.callback(pod.remove)
            stack.callback(node.remove)
            folder = tmp_path / f"place{len(made)}"
            folder.mkdir()
            # iptables never removes its tables: create them at the start.
            for program in ("iptables", "ip6tables"):
                for change in ("-A", "-D"):
                    node.run(program, "-t", "nat", change, "POSTROUTING", "-j", "ACCEPT")
            made.append(Place(node, pod, folder, node.state(str(folder))))
            return made[-1]

        yield create


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture
def ours() -> Ours:
    return Ours()


@pytest.fixture
def reference() -> Side:
    return Reference()


@pytest.fixture
def sides(ours: Ours, reference: Side) -> dict[str, Side]:
    return {side.name: side for side in (ours, reference)}


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            _text(key): _comparable(each)
            for key, each in value.items()
            # The name of a namespace is the test's; the queue length is 0 in releases of the
            # reference before 1.5 and the kernel's default in later ones and in ours.  A pair may
            # have more queues than the one that is used when the reference made it.
            if key not in ("link_netns", "txqlen", "num_tx_queues", "num_rx_queues")
        }
    if isinstance(value, list):
        return sorted(map(_comparable, value), key=lambda each: json.dumps(each, sort_keys=True))
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    if _MAC.match(text):
        return "MAC"
    if _HOST_END.match(text):
        return "HOST-END"
    return _LINK_LOCAL.sub("LINK-LOCAL", text)
