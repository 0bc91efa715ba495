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
from waiting import becomes

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
    "host-device": "multus_invoker_host_device",
    "loopback": "multus_invoker_loopback",
    "flannel": "multus_invoker_flannel",
    "bandwidth": "multus_invoker_bandwidth",
    **dict.fromkeys(("vrf", "sbr"), "multus_invoker_routes"),
    "portmap": "multus_invoker_portmap",
    **dict.fromkeys(("macvlan", "ipvlan", "vlan", "dummy"), "multus_invoker_vlans"),
}
for _module in set(MODULES.values()):
    pytest.importorskip(_module)

Json = dict[str, Any]

#: What is compared, as arguments of ``ip``; addresses come with all that is known of their links.
_SHOWN = (
    ("address",),
    ("-4", "route", "show", "table", "all"),
    ("-6", "route", "show", "table", "all"),
    ("-4", "rule"),
    ("-6", "rule"),
)
_FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")

#: Addresses are usable at once, and links have only those that plugins give them: the kernel's own
#: come at a time of their own.
_NO_WAIT = ("net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.addr_gen_mode=1")

_MAC = re.compile(r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$")
_HOST_END = re.compile(r"^veth[0-9a-f]{8}$")
_IFB = re.compile(r"^bwp[0-9a-f]{12}$")

#: Numbers that the kernel counts up, the places of links that it numbers, and what it says of a
#: link or an address some time after the change.
_VOLATILE = {
    *("operstate", "tentative"),
    *("ifindex", "link_index", "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer"),
    *("bridge_id", "root_id", "root_port", "designated_bridge", "designated_root", "id", "no"),
    *("port_id", "port_no", "forward_delay_timer", "hold_timer", "message_age_timer"),
}


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
        """What is in the kernel at both ends, without random values."""
        found: Json = {
            name: {" ".join(what): _comparable(_settled(netns.ip(*what))) for what in _SHOWN}
            for name, netns in (("host", self.node), ("container", self.pod))
        }
        found["firewall"] = [line for line in self.left() if line.startswith("+ firewall")]
        found["queues"], found["filters"] = self._traffic_control()
        found["forwarding"] = self.node.run("sysctl", "-n", *_FORWARDING)
        return found

    def _traffic_control(self) -> tuple[Any, list[Any]]:
        queues = json.loads(self.node.run("tc", "-j", "-d", "qdisc", "show"))
        filters = []
        for each in queues:
            if each["kind"] == "ingress":
                parent = ("dev", each["dev"], "parent", "ffff:")
                *_, last = json.loads(self.node.run("tc", "-j", "filter", "show", *parent))
                # The reference adds a second action, which no packet gets to.
                filters.append([last["options"]["match"], last["options"]["actions"][:1]])
        return _comparable(queues), _comparable(filters)

    def comparable(self, result: Json) -> Any:
        """A result without random values; newer releases of the reference omit empty settings."""
        plain = json.loads(json.dumps(result).replace(self.pod.path, "CONTAINER"))
        return _comparable({key: value for key, value in plain.items() if value != {}})


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
            for netns in (node, pod):
                netns.run("sysctl", "-qw", *_NO_WAIT)
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


@frozen
class Attached:
    """What one side attached, on a host of its own."""

    side: Side
    other: Side
    place: Place
    config: Json
    result: Json


class Both:
    """Both sides, each on a host of its own."""

    def __init__(self, new_place: Callable[[], Place], ours: Side, reference: Side) -> None:
        self._sides = ((ours, reference), (reference, ours))
        self._places = (new_place(), new_place())

    def attach(
        self,
        config_at: Callable[[Place], Json],
        before: Callable[[Place], Json | None] = lambda _: None,
    ) -> list[Attached]:
        """Each side's ADD; *before* attaches what it is chained to, and returns the result."""
        found = []
        for (side, other), place in zip(self._sides, self._places, strict=True):
            config = config_at(place)
            result = side.add(place, config, before(place))
            found.append(Attached(side, other, place, config, result))
        return found

    def require_alike(self, attached: list[Attached]) -> None:
        """Require the same results, and the same in the kernel when it has come to rest."""
        ours, theirs = attached
        results = [each.place.comparable(each.result) for each in attached]
        assert list(differences(results[0], results[1])) == []
        becomes(lambda: list(differences(ours.place.seen(), theirs.place.seen())), [], 5.0)

    def exchange(self, attached: list[Attached]) -> None:
        """Let each side check and delete what the other one attached, and then its own again."""
        for each in attached:
            each.other.check(each.place, each.config, each.result)
            each.other.delete(each.place, each.config, each.result)
            each.side.delete(each.place, each.config, each.result)


@pytest.fixture
def both(new_place: Callable[[], Place], ours: Side, reference: Side) -> Both:
    return Both(new_place, ours, reference)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two facts differ, without counters and timers of bridges."""
    if path.rpartition(".")[2] in _VOLATILE or ours == theirs:
        return
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list | tuple) and len(ours) == len(theirs):
        for at, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our, their, f"{path}.{at}")
    else:
        yield f"{path}: ours {ours!r}, theirs {theirs!r}"


def _settled(shown: list[Json]) -> list[Json]:
    """Without routes that the kernel adds at a time of its own, after a link went up."""
    return [each for each in shown or () if each.get("dst") != "ff00::/8"]


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
    return "IFB" if _IFB.match(text) else text
