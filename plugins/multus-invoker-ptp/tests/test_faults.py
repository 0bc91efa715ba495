"""Whatever fails, and wherever the process dies: after DEL nothing is left."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from multus_invoker_ptp.invoker import Ptp

from multus.api.errors import KernelRefused
from multus.testing.invocation import Caller
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Damaging, Host, Killing

V4 = [{"subnet": "10.90.0.0/24"}]
V6 = [{"subnet": "fd90::/64"}]


def config_of(host: Host, family: str) -> dict[str, Any]:
    sets = [V4] if family == "IPv4" else [V4, V6]
    return host.config(*sets, ipMasq=True, mtu=1400)


def messages_of_add(
    host: Host, caller: Caller, config: dict[str, Any], damaging: type[Damaging]
) -> int:
    """How many messages an ADD sends; it is taken down again."""
    places = [0]
    host.add(caller, config, Ptp(damaging.at(-1, places)))
    host.delete(caller, config)
    return places[0]


@pytest.mark.parametrize("family", ["IPv4", "dual"])
def test_an_error_at_any_message_of_add_leaves_nothing(
    host: Host, caller: Caller, pod: Netns, family: str, damaging: type[Damaging]
) -> None:
    config = config_of(host, family)
    count = messages_of_add(host, caller, config, damaging)
    assert count >= 10
    for target in range(count):
        with pytest.raises(KernelRefused) as caught:
            host.add(caller, config, Ptp(damaging.at(target)))
        assert "Operation not supported" in str(caught.value)
        assert (target, host.left(), pod.links()) == (target, [], {})
        host.delete(caller, config)
        assert (target, host.left(), pod.links()) == (target, [], {})


@pytest.mark.parametrize("family", ["IPv4", "dual"])
def test_a_kill_at_any_message_of_add_leaves_nothing_after_del(
    host: Host,
    caller: Caller,
    pod: Netns,
    family: str,
    damaging: type[Damaging],
    killing: type[Killing],
) -> None:
    config = config_of(host, family)
    for target in range(messages_of_add(host, caller, config, damaging)):
        add = Ptp(killing.at(target))
        assert dies(lambda add=add: host.add(caller, config, add))
        host.delete(caller, config)
        assert (target, host.left(), pod.links()) == (target, [], {})


def test_an_error_at_any_message_of_del_is_reported_and_del_can_be_repeated(
    host: Host, caller: Caller, pod: Netns, damaging: type[Damaging]
) -> None:
    config = config_of(host, "dual")
    both = [caller, evolve(caller, ifname="net1")]
    other = host.config([{"subnet": "10.92.0.0/24"}], name="other")
    other["ipam"]["routes"] = []
    target, errors = 0, [object()]
    while any(errors):
        result = host.add(caller, config)
        host.add(both[1], other)
        places = [0]
        invocations = [both[0].invocation("DEL", config), both[1].invocation("DEL", other)]
        with host.inside.entered():
            errors = list(Ptp(damaging.at(target, places)).delete(invocations))
        if target < 4:  # two look-ups, two changes of group
            assert any(errors)
        host.delete(caller, config, result)
        host.delete(both[1], other)
        assert (target, host.left(), pod.links()) == (target, [], {})
        target += 1
    assert target > 4


def test_a_kill_at_any_message_of_del_can_be_repeated(
    host: Host, caller: Caller, pod: Netns, killing: type[Killing]
) -> None:
    config = config_of(host, "dual")
    target, died = 0, True
    while died:
        host.add(caller, config)
        delete = Ptp(killing.at(target))
        died = dies(lambda delete=delete: host.delete(caller, config, invoker=delete))
        host.delete(caller, config)
        assert (target, host.left(), pod.links()) == (target, [], {})
        target += 1
    assert target > 2


@pytest.mark.parametrize("step", ["iptables", "ipam"])
def test_a_step_that_fails_outside_of_netlink_leaves_nothing(
    host: Host, caller: Caller, pod: Netns, step: str
) -> None:
    config = config_of(host, "IPv4")
    if step == "iptables":
        # Somebody has the chain's name in the way, as a chain with a hook.
        from multus.netlink.masquerade import Owner

        chain = Owner("ptpnet", "container1", "eth0").chain
        hook = "{ type nat hook input priority 100 ; }"
        host.node.run("nft", f"add chain ip nat {chain} {hook}")
    else:
        config["ipam"] |= {"ranges": [[{"subnet": "10.90.0.0/31"}]]}
    before = host.left()
    with pytest.raises(Exception, match=r"."):
        host.add(caller, config)
    assert host.left() == before
    assert pod.links() == {}


def dies(work: Any) -> bool:
    """Do the work in a process of its own: whether it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False
