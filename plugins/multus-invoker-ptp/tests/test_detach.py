from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from multus_invoker_ptp.invoker import Ptp
from waiting import eventually

from multus.ipam._hostlocal import HostLocal
from multus.netlink import Namespace
from multus.testing.invocation import Caller
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Host
    from multus.testing.faults import Damaging

V4 = [{"subnet": "10.90.0.0/24"}]


def several(caller: Caller, count: int) -> list[Caller]:
    """The same container, with so many interfaces."""
    return [evolve(caller, ifname=f"net{number}") for number in range(count)]


def delete_together(host: Host, callers: list[Caller]) -> list[object]:
    with host.inside.entered():
        return list(
            Ptp().delete(
                [
                    each.invocation("DEL", host.config(V4, name=f"n{number}"))
                    for number, each in enumerate(callers)
                ]
            )
        )


def attach_all(host: Host, callers: list[Caller]) -> None:
    for number, each in enumerate(callers):
        config = host.config([{"subnet": f"10.90.{number}.0/24"}], name=f"n{number}")
        config["ipam"]["routes"] = []
        host.add(each, config)


def test_deleting_all_attachments_of_a_container_takes_the_time_of_one(
    host: Host, caller: Caller, pod: Netns
) -> None:
    callers = several(caller, 16)
    together: list[float] = []
    apart: list[float] = []
    for _ in range(3):
        attach_all(host, callers)
        started = time.monotonic()
        assert delete_together(host, callers) == [None] * 16
        together.append(time.monotonic() - started)
        assert host.left() == []
        assert pod.links() == {}
        attach_all(host, callers)
        started = time.monotonic()
        for number, each in enumerate(callers):
            host.delete(each, host.config(V4, name=f"n{number}"))
        apart.append(time.monotonic() - started)
    # Sixteen times the kernel's waiting against once. A pause of the machine may fall into some of
    # the short ones, not into all.
    assert min(together) < min(apart) / 4


def test_attachments_that_are_gone_already_do_not_hold_up_the_others(
    host: Host, caller: Caller, pod: Netns
) -> None:
    callers = several(caller, 4)
    attach_all(host, callers)
    pod.ip("link", "delete", "net2")
    assert delete_together(host, callers) == [None] * 4
    assert host.left() == []
    assert delete_together(host, callers) == [None] * 4


def test_other_attachments_of_the_container_stay(host: Host, caller: Caller, pod: Netns) -> None:
    callers = several(caller, 4)
    attach_all(host, callers)
    assert delete_together(host, callers[:3]) == [None] * 3
    assert set(pod.links()) == {"net3"}
    assert pod.addresses("net3") == ["10.90.3.2/24"]


def test_del_after_the_namespace_is_gone_frees_rules_and_addresses(
    host: Host, caller: Caller, pod: Netns
) -> None:
    config = host.config(V4, ipMasq=True)
    result = host.add(caller, config)
    pod.remove()
    # The kernel takes its time to tear a namespace down.
    eventually(lambda: result.interfaces[0].name not in host.node.links())
    host.delete(caller, config)
    assert host.left() == []


def test_del_takes_the_hosts_end_at_once_when_the_namespace_is_gone(
    host: Host, caller: Caller, pod: Netns
) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    # Something still holds the namespace, which has no path any more.
    with Namespace(pod.path):
        pod.remove()
        host.delete(caller, config, result)
        assert host.left() == []


def test_del_leaves_another_link_of_the_same_name_alone(host: Host, caller: Caller) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    name = result.interfaces[0].name
    host.delete(caller, config, result)
    host.node.ip("link", "add", name, "type", "veth", "peer", "name", "other0")
    host.delete(evolve(caller, netns=""), config, result)
    host.delete(evolve(caller, netns="/run/netns/no-such-thing"), config, result)
    assert name in host.node.links()


def test_del_without_a_namespace_frees_rules_and_addresses(
    host: Host, caller: Caller, pod: Netns
) -> None:
    config = host.config(V4, ipMasq=True)
    host.add(caller, config)
    pod.ip("link", "delete", "eth0")
    host.delete(evolve(caller, netns=""), config)
    assert host.left() == []


def test_del_of_a_missing_attachment_succeeds(host: Host, caller: Caller) -> None:
    host.delete(caller, host.config(V4, ipMasq=True))
    host.delete(evolve(caller, netns="/run/netns/no-such-thing"), host.config(V4, ipMasq=True))
    assert host.left() == []


def test_del_works_with_a_configuration_that_went_bad(
    host: Host, caller: Caller, pod: Netns
) -> None:
    config = host.config(V4, ipMasq=True)
    host.add(caller, config)
    host.delete(caller, {**config, "mtu": "many", "ipMasqBackend": 7, "dns": []})
    assert host.left() == []
    assert pod.links() == {}


def test_del_leaves_an_interface_of_another_kind_alone(
    host: Host, caller: Caller, pod: Netns
) -> None:
    pod.ip("link", "add", "eth0", "type", "bridge")
    host.delete(caller, host.config(V4))
    assert set(pod.links()) == {"eth0"}


def test_an_address_is_free_only_after_its_link_is_gone(
    host: Host, caller: Caller, damaging: type[Damaging]
) -> None:
    config = host.config(V4)
    host.add(caller, config)
    refusing = Ptp(damaging.at(1))  # the deletion; the look-up before it passes
    with host.inside.entered():
        errors = refusing.delete([caller.invocation("DEL", config)])
    assert errors[0] is not None
    assert any("10.90.0.2" in fact for fact in host.left() if fact.startswith("+ file"))
    host.delete(caller, config)
    assert host.left() == []


BAD_FOLDERS = ["/tmp/a\0b", "/tmp/\ud800"]


@pytest.mark.parametrize("folder", BAD_FOLDERS, ids=["NUL", "surrogate"])
def test_a_folder_that_cannot_be_named_costs_its_neighbours_nothing(
    host: Host, caller: Caller, folder: str
) -> None:
    """All addresses of a container with 61 other networks are free; nothing was held in there."""
    good = []
    for number in range(61):
        config = host.config([{"subnet": f"10.{number}.0.0/24"}], name=f"n{number}")
        good.append(evolve(caller, ifname=f"net{number}").invocation("DEL", config))
        HostLocal(good[-1]).add()
    bad = host.config(V4, name="bad")
    bad["ipam"]["dataDir"] = folder
    bad_one = evolve(caller, ifname="bad0").invocation("DEL", bad)
    with host.inside.entered():
        errors = Ptp().delete([*good[:30], bad_one, *good[30:]])
    assert errors == [None] * 62
    held = [path for path in host.folder.glob("n*/10.*") if path.is_file()]
    assert held == []


def test_rules_that_cannot_be_removed_cost_their_own_network_only(
    host: Host, caller: Caller
) -> None:
    plain, masked = host.config(V4), host.config(V4, name="masked", ipMasq=True)
    masked_too = {**masked, "name": "\ud800"}
    calls = [
        evolve(caller, ifname=f"net{at}").invocation("DEL", config)
        for at, config in enumerate((plain, masked, masked_too))
    ]
    for each in calls[:2]:
        HostLocal(each).add()
    with host.inside.entered():
        errors = Ptp().delete(calls)
    assert [each is None for each in errors] == [True, True, False]
    assert list(host.folder.glob("*/10.*")) == []


def test_a_link_renamed_in_the_container_is_deleted_by_its_other_end(
    host: Host, caller: Caller, pod: Netns
) -> None:
    """The kernel made ``x0`` of ``x%d`` where an older program asked for it."""
    config = host.config(V4)
    pattern = evolve(caller, ifname="x%d")
    result = host.add(pattern, config)
    assert set(pod.links()) == {"x0"}
    host.delete(pattern, config, result)
    assert pod.links() == {}
    assert host.left() == []
