"""Configure the kernel's network from this process, in batches of netlink messages.

It starts no program and forks no process::

    from multus.netlink import Namespace, addresses, create, links, routes, sysctl

    with Namespace.current() as host, Namespace("/run/netns/pod") as pod:
        with host.channel() as channel:                     # a netlink socket of that namespace
            channel.request([
                create.veth("veth1", "eth0", peer_namespace=pod, mtu=1400),
                links.set_up("veth1"),                      # one datagram; every answer is read
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
not.  Each module is imported when it is first used:

``create``
    Messages that create links: veth, macvlan, ipvlan, vlan, bridge, vxlan, vrf.
``links``, ``addresses``, ``routes``, ``neighbours``
    Messages that change and list existing objects.
``bridges``
    A bridge's ports: options, VLANs.
``rules``
    Policy rules: which routing table a packet uses.
``queues``
    Traffic control: limit what leaves an interface, and redirect what enters it.
``results``
    Apply a CNI result to a link, and check a link against a result.
``masquerade``
    Rules that translate container traffic to the host's address.
``nftables``, ``nftexpressions``
    Tables, chains and rules of nf_tables.
``iptables``
    Rules of iptables in table nat.
``conntrack``
    Forget tracked connections.
``sysctl``
    Network sysctls.
``inventory``
    Lists everything in a namespace, for tools and tests; uses pyroute2, which is slow to import.
``wire``
    Netlink messages as bytes, for a message of your own.

Functions that describe a change return a `Message`; `Channel.request` sends it.  When the kernel
refuses a message, `Refused` (a `multus.api.errors.KernelRefused`) is raised with ``errno``,
``position`` and the message's words.  A path that is not a network namespace raises `NamespaceGone`
(a `multus.api.errors.UnknownContainer`).  The caller needs ``CAP_NET_ADMIN`` in the namespace and
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
    "conntrack",
    "create",
    "inventory",
    "iptables",
    "links",
    "masquerade",
    "neighbours",
    "nftables",
    "nftexpressions",
    "queues",
    "results",
    "routes",
    "rules",
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
