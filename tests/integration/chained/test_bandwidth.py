"""Limits: errors, CHECK, and DEL."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import evolve
from kernel import require_kernel

from multus.api.errors import CheckFailed, InvalidConfig
from multus.netlink import Namespace, Transport
from multus.testing.invocation import Caller
from multus.testing.session import new_session

if TYPE_CHECKING:
    from integration.chained.conftest import Chain

_DELETE_LINK = 17

INTO = {"ingressRate": 1_000_000, "ingressBurst": 800_000}
OUT = {"egressRate": 2_000_000, "egressBurst": 1_600_000}
NONE: dict[str, Any] = {"type": "bandwidth"}
BOTH: dict[str, Any] = {**NONE, **INTO, **OUT}


@pytest.fixture(autouse=True)
def _kernel() -> None:
    require_kernel("bandwidth")


def devices(chain: Chain) -> list[str]:
    return sorted(name for name in chain.node.links() if name.startswith("bwp"))


@pytest.mark.parametrize(
    ("config", "ingress", "egress"),
    [
        (NONE, 0, 0),
        ({**NONE, "runtimeConfig": {"bandwidth": INTO}}, 1, 0),
        ({**NONE, "runtimeConfig": {"bandwidth": {**INTO, **OUT}}}, 1, 1),
        ({**NONE, **OUT, "runtimeConfig": {"bandwidth": INTO}}, 0, 1),
        ({**NONE, "ingressRate": 0, "runtimeConfig": {"bandwidth": INTO}}, 0, 0),
    ],
    ids=["none", "runtime", "both", "own first", "own that is no limit"],
)
def test_limits_are_the_configurations_or_the_runtimes(
    chain: Chain, config: dict[str, Any], ingress: int, egress: int
) -> None:
    result = chain.call("ADD", config)
    queues = chain.node.run("tc", "qdisc", "show")
    assert queues.count("qdisc tbf 1: dev veth7 root") == ingress
    assert len(devices(chain)) == egress
    assert [each.name for each in result.interfaces[2:]] == devices(chain)
    chain.call("CHECK", config, result)
    for _twice in range(2):
        chain.call("DEL", config, result, netns="")
    assert devices(chain) == []


@pytest.mark.parametrize("dev", ["veth7", "bwp"])
@pytest.mark.parametrize("change", ["delete", "replace"])
def test_check_finds_a_limit_that_is_missing_or_another_one(
    chain: Chain, dev: str, change: str
) -> None:
    result = chain.call("ADD", BOTH)
    name = "veth7" if dev == "veth7" else devices(chain)[0]
    more = ["tbf", "rate", "9mbit", "burst", "9kb", "latency", "1s"] if change == "replace" else []
    chain.node.run("tc", "qdisc", change, "dev", name, "root", *more)
    with pytest.raises(CheckFailed, match=f"what {name} sends"):
        chain.call("CHECK", BOTH, result)


def test_check_finds_that_the_device_is_missing(chain: Chain) -> None:
    result = chain.call("ADD", BOTH)
    chain.node.ip("link", "delete", devices(chain)[0])
    with pytest.raises(CheckFailed, match="is missing"):
        chain.call("CHECK", BOTH, result)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ingressRate": 1_000_000}, "ingressBurst"),
        ({"egressBurst": 1_000_000}, "egressRate"),
        ({**INTO, "ingressRate": 7}, "ingressRate"),
        ({**INTO, "ingressBurst": 8 * 2**32}, "ingressBurst"),
        ({**INTO, "ingressBurst": "many"}, "ingressBurst"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_done(
    chain: Chain, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidConfig, match=said):
        chain.call("ADD", {**NONE, **wrong})
    chain.call("DEL", {**NONE, **wrong})
    assert chain.node.run("tc", "qdisc", "show", "dev", "veth7").split()[1] == "noqueue"


def test_an_interface_that_is_no_veth_of_the_result_is_refused(chain: Chain) -> None:
    with pytest.raises(InvalidConfig, match="'prevResult'"):
        chain.call("ADD", BOTH, evolve(chain.before, interfaces=chain.before.interfaces[1:]))
    chain.pod.ip("link", "add", "net1", "type", "bridge")
    with pytest.raises(InvalidConfig, match="of kind 'bridge'"):
        chain.call("ADD", BOTH, ifname="net1")
    assert devices(chain) == []


class Recording(Transport):
    """Keeps the types of messages, in a list for each datagram."""

    sent: ClassVar[list[list[int]]] = []

    def send(self, messages: Sequence[bytes]) -> None:
        self.sent.append([int.from_bytes(each[4:6], sys.byteorder) for each in messages])
        super().send(messages)


def test_the_device_is_deleted_with_the_links_in_one_request(chain: Chain) -> None:
    from multus_invoker_bandwidth.invoker import Bandwidth

    bridges = pytest.importorskip("multus_invoker_bridge.invoker")
    caller = Caller("chained1", chain.pod.path, "net1")
    network = {"type": "bridge", "bridge": "br0"}
    with Namespace(chain.node.path) as host, host.entered(), new_session() as session:
        result = bridges.Bridge().add(caller.invocation("ADD", network, session=session))
        limited = Bandwidth().add(caller.invocation("ADD", BOTH, result, session=session))
        assert len(devices(chain)) == 1
        Recording.sent.clear()
        Bandwidth.before_delete(
            [
                (Bandwidth(Recording), caller.invocation("DEL", BOTH, limited)),
                (bridges.Bridge(Recording), caller.invocation("DEL", network, result)),
            ]
        )
    assert (devices(chain), list(chain.pod.links())) == ([], ["eth0"])
    assert [each.count(_DELETE_LINK) for each in Recording.sent if _DELETE_LINK in each] == [1]
