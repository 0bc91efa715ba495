"""What a configuration means, and what is wrong with one that is refused."""

from __future__ import annotations

from typing import Any

import multus_invoker_sriov
import pytest
from attrs import evolve
from multus_invoker_sriov.conf import SriovConf
from multus_invoker_sriov.invoker import SriovInvoker
from multus_invoker_sriov.vf import VfState

from multus.api.errors import InvalidConfig
from multus.api.invoker import Declined
from multus.testing.invocation import Caller


def _read(args: str = "", **keys: Any) -> SriovConf:
    which = {} if "if0" in keys else {"deviceID": "0000:03:02.0"}
    config = {"type": "sriov", **which, **keys}
    return SriovConf.read(Caller(ifname="net1", args=args).invocation("ADD", config))


def _offer(**keys: Any) -> object:
    invocation = Caller().invocation("ADD", {"type": "sriov", **keys})
    return multus_invoker_sriov.multus_invoker(
        invocation.plugin, invocation.delegate, invocation.conf
    )


def test_it_offers_itself_for_its_type_only() -> None:
    assert isinstance(_offer(deviceID="0000:03:02.0"), SriovInvoker)
    assert _offer(type="ptp") is None


def test_a_key_that_is_not_known_is_left_to_the_binary() -> None:
    assert _offer(deviceID="0000:03:02.0", rdma=True) == Declined("sriov", "key 'rdma'")


def test_every_key_of_the_first_plugin_and_of_todays_is_known() -> None:
    offer = _offer(
        **{"if0": "x", "if0name": "north", "l2enable": True, "vlan": 1, "dpdk": {}, "cniDir": "/x"},
        **{"deviceID": "x", "vlanQoS": 1, "vlanProto": "x", "mac": "x", "spoofchk": "on"},
        **{"trust": "on", "link_state": "auto", "min_tx_rate": 1, "max_tx_rate": 1, "ipam": {}},
        **{"logLevel": "debug", "logFile": "/x", "pciBusID": "x", "dns": {}, "runtimeConfig": {}},
    )
    assert isinstance(offer, SriovInvoker)


def test_the_first_plugins_example_is_read() -> None:
    conf = _read(if0="enp2s0", vlan=210, if0name="north", l2enable=True)
    assert (conf.pf, conf.vlan, conf.ifname, conf.layer2) == ("enp2s0", 210, "north", True)


def test_a_mac_that_the_pod_requests_of_the_network_is_taken() -> None:
    """As sriov-cni takes ``MAC`` from ``CNI_ARGS``; the network's own is after the runtime's."""
    config = {"type": "sriov", "deviceID": "0000:03:02.0", "mac": "02:00:00:00:00:01"}
    invocation = Caller(args="MAC=02:00:00:00:00:02").invocation("ADD", config)
    delegate = evolve(invocation.delegate, args={"MAC": "02:00:00:00:00:03"})
    assert SriovConf.read(evolve(invocation, delegate=delegate)).mac == "02:00:00:00:00:03"


def test_without_if0name_the_interface_is_the_runtimes() -> None:
    assert _read(if0="enp12s0f1").ifname == "net1"


@pytest.mark.parametrize(
    ("keys", "args", "mac"),
    [
        ({"mac": "02:00:00:00:00:AA"}, "", "02:00:00:00:00:aa"),
        ({"mac": "02:00:00:00:00:01"}, "MAC=02:00:00:00:00:02", "02:00:00:00:00:02"),
        (
            {"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"}},
            "IgnoreUnknown=1;MAC=02:00:00:00:00:02",
            "02:00:00:00:00:03",
        ),
        ({}, "K8S_POD_NAME=a", ""),
    ],
)
def test_the_runtimes_mac_comes_before_cni_args_and_that_before_the_configuration(
    keys: dict[str, Any], args: str, mac: str
) -> None:
    assert _read(args, **keys).mac == mac


def test_the_runtimes_device_comes_before_the_configurations() -> None:
    assert _read(runtimeConfig={"deviceID": "0000:03:02.1"}).device == "0000:03:02.1"


def test_one_rate_alone_takes_the_others_limit_away() -> None:
    conf = _read(max_tx_rate=100)
    assert conf.attributes == {"rate"}
    state = conf.applied_to(VfState(min_rate=5, max_rate=9))
    assert (state.min_rate, state.max_rate) == (0, 100)


def test_an_attribute_that_is_not_given_stays() -> None:
    state = VfState("02:00:00:00:00:01", 7, 1, 0x88A8, True, True, 1, 2, 3)
    assert _read().applied_to(state) == state
    assert _read().attributes == frozenset()


def test_no_vlan_is_not_vlan_0() -> None:
    assert _read(vlan=0).attributes == {"vlan"}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"deviceID": ""}, "deviceID"),
        ({"deviceID": "../../etc"}, "deviceID"),
        ({"deviceID": "03:02.0"}, "deviceID"),
        ({"if0": "a/b"}, "if0"),
        ({"if0": "enp2s0", "if0name": "eth0"}, "if0name"),
        ({"if0": "enp2s0", "if0name": "lo"}, "if0name"),
        ({"if0name": "a-name-that-is-too-long"}, "if0name"),
        ({"if0name": "north%d"}, "if0name"),
        ({"if0": "enp%d"}, "if0"),
        ({"vlan": 4095}, "vlan"),
        ({"vlan": -1}, "vlan"),
        ({"vlan": "7"}, "vlan"),
        ({"vlanQoS": 1}, "vlanQoS"),
        ({"vlanProto": "802.1q"}, "vlanProto"),
        ({"vlan": 7, "vlanQoS": 8}, "vlanQoS"),
        ({"vlan": 0, "vlanQoS": 1}, "vlanQoS"),
        ({"vlan": 7, "vlanProto": "802.1x"}, "vlanProto"),
        ({"vlan": 0, "vlanProto": "802.1ad"}, "vlanProto"),
        ({"mac": "02:00:00:00:00"}, "MAC"),
        ({"mac": "01:00:00:00:00:01"}, "MAC"),
        ({"mac": "00:00:00:00:00:00"}, "MAC"),
        ({"spoofchk": "yes"}, "spoofchk"),
        ({"trust": True}, "trust"),
        ({"link_state": "up"}, "link_state"),
        ({"min_tx_rate": -1}, "min_tx_rate"),
        ({"min_tx_rate": 9, "max_tx_rate": 8}, "min_tx_rate"),
        ({"dpdk": {"kernel_driver": "iavf"}}, "dpdk_driver"),
        ({"dpdk": {"kernel_driver": "../x", "dpdk_driver": "vfio-pci"}}, "kernel_driver"),
    ],
)
def test_what_is_wrong_is_refused_with_its_key(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        _read(**keys)
    assert named in caught.value.msg
    assert "'net1'" in caught.value.msg


@pytest.mark.parametrize("proto", ["802.1Q", "802.1AD", "802.1ad"])
def test_protocols_are_read_in_any_case(proto: str) -> None:
    wanted = 0x8100 if proto.lower() == "802.1q" else 0x88A8
    assert _read(vlan=7, vlanProto=proto).proto == wanted
