"""The kernel's network configuration, from this process, in batches of messages.

No program is started, and no process is forked::

    from multus.netlink import Namespace, addresses, create, links, routes, sysctl

    with Namespace.current() as host, Namespace("/run/netns/pod") as pod:
        with host.channel() as channel:                     # a netlink socket of that namespace
            channel.request([
                create.veth("veth1", "eth0", peer_namespace=pod, mtu=1400),
                links.set_up("veth1"),                      # in one datagram, every answer is read
            ])
        with pod.channel() as channel:
            eth0 = links.find(channel, "eth0")              # a Link: index, name, mac, mtu, peer …
            channel.request([
                addresses.add(eth0.index, "10.1.2.3/24"),
                links.set_up(eth0.index),
                routes.add(eth0.index, "0.0.0.0/0", gateway="10.1.2.1"),
            ])
            channel.request(links.delete_many(["eth0", "net1"]))   # one grace period for all
        with pod.entered():
            sysctl.write("ipv4/conf/eth0/arp_notify", "1")

The names below, and the modules, are public; a module or name that begins with an underscore is
not.  The modules are imported when they are asked for:

``create``
    Messages that create links: veth, macvlan, ipvlan, vlan, bridge, vxlan.
``links``, ``addresses``, ``routes``, ``neighbours``
    Messages about what is there, and reading it.
``bridges``
    A bridge's ports: options, VLANs.
``results``
    Giving a link what a CNI result says, and checking that it has it.
``masquerade``
    Rules that give what leaves a container's network the host's address.
``sysctl``
    Network sysctls.
``inventory``
    All that is in a namespace, for tools and tests: read through pyroute2, slow to import.
``wire``
    Netlink messages as bytes, for a message of your own.

Functions that say what is to be done return a `Message`; `Channel.request` does it.  What the
kernel refuses raises `Refused` (a `multus.api.errors.KernelRefused`) with ``errno``, ``position``
and the message's words; a path without a network namespace raises `NamespaceGone` (a
`multus.api.errors.UnknownContainer`).  Needs the capability ``CAP_NET_ADMIN`` in the namespace and
``CAP_SYS_ADMIN`` to enter it.
"""

from __future__ import annotations

from multus.netlink._announce import announce
from multus.netlink._channel import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    Channel,
    Refused,
    Transport,
    open_channel,
)
from multus.netlink._namespace import Namespace, NamespaceGone, is_namespace
from multus.netlink.wire import Message

#: The public modules of this package.
MODULES = (
    "addresses",
    "bridges",
    "create",
    "inventory",
    "links",
    "masquerade",
    "neighbours",
    "results",
    "routes",
    "sysctl",
    "wire",
)

__all__ = [
    "NETLINK_NETFILTER",
    "NETLINK_ROUTE",
    "Channel",
    "Message",
    "Namespace",
    "NamespaceGone",
    "Refused",
    "Transport",
    "announce",
    "is_namespace",
    "open_channel",
]
