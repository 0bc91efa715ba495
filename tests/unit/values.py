"""Hypothesis strategies for the values of ``multus.api``, and short ways to make some."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from multus.api.conf import Conf
from multus.api.network import Delegate, Plugin
from multus.api.request import Request
from multus.api.result import DNS, IP, Interface, Result, Route


def conf_of(**keys: Any) -> Conf:
    """A configuration with these keys."""
    return Conf.from_wire({"cniVersion": "1.1.0", "name": "unit", "type": "multus", **keys})


def request_of(command: str = "ADD", **values: Any) -> Request:
    """A request of container ``c1`` for ``eth0``, whose namespace may be that of this process."""
    own: dict[str, Any] = {"container_id": "c1", "netns": "/run/netns/none", "ifname": "eth0"}
    own["environ"] = {"CNI_NETNS_OVERRIDE": "1"}
    return Request(command=command, **{**own, **values})


def delegate_of(name: str, *kinds: str, **values: Any) -> Delegate:
    """A delegate of plugins with these types."""
    plugins = tuple(Plugin({"type": kind}) for kind in kinds or ("fake",))
    return Delegate(name=name, plugins=plugins, **{"cni_version": "1.0.0", **values})


# --- JSON -----------------------------------------------------------------------------------------

texts = st.text(max_size=12)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=6)

# --- Results --------------------------------------------------------------------------------------

_small = st.integers(min_value=0, max_value=2**31 - 1)
_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=10)
_macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
_addresses = st.ip_addresses()


def _prefixed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> str:
    return f"{address}/{min(length, address.max_prefixlen)}"


_cidrs = st.builds(_prefixed, _addresses, st.integers(min_value=0, max_value=128))
_gateways = st.just("") | _addresses.map(str)
_interfaces = st.builds(
    Interface,
    name=_words,
    mac=st.just("") | _macs,
    sandbox=st.sampled_from(["", "/run/netns/pod"]),
    mtu=st.sampled_from([0, 1400, 9000]),
    socket_path=st.sampled_from(["", "/run/vhost.sock"]),
    pci_id=st.sampled_from(["", "0000:00:1f.6"]),
)
_routes = st.builds(
    Route,
    dst=_cidrs,
    gw=_gateways,
    **{name: st.none() | _small for name in ("mtu", "advmss", "priority", "table", "scope")},
)
_dns = st.builds(
    DNS,
    nameservers=st.lists(_addresses.map(str), max_size=3).map(tuple),
    domain=st.just("") | _words,
    search=st.lists(_words, max_size=3).map(tuple),
    options=st.lists(_words, max_size=3).map(tuple),
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    """Any result whose addresses stand on interfaces that it has."""
    interfaces = draw(st.lists(_interfaces, max_size=4).map(tuple))
    indexes = st.none() | st.sampled_from(range(len(interfaces))) if interfaces else st.none()
    ips = st.builds(IP, address=_cidrs, gateway=_gateways, interface=indexes)
    return Result(
        interfaces=interfaces,
        ips=draw(st.lists(ips, max_size=4).map(tuple)),
        routes=draw(st.lists(_routes, max_size=4).map(tuple)),
        dns=draw(_dns),
    )
