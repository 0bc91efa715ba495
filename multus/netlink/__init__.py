"""The kernel's network configuration, from this process: batches of messages, no ``ip``, no fork.

    from multus.netlink import Namespace, addresses, links, routes, sysctl

    with Namespace.current() as host, Namespace("/run/netns/pod") as pod:
        with host.channel() as channel:                     # a netlink socket of that namespace
            channel.request([
                links.create_veth("veth1", "eth0", peer_namespace=pod, mtu=1400),
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

Functions that say what is to be done return a `Message`; `Channel.request` does it.  What the
kernel refuses raises `Refused` (a `multus.api.errors.KernelRefused`) with ``errno``, ``position``
and the message's words; a path that is no network namespace raises `NamespaceGone` (a
`multus.api.errors.UnknownContainer`).  Needs the capability ``CAP_NET_ADMIN`` in the namespace and
``CAP_SYS_ADMIN`` to enter it.
"""

from __future__ import annotations

from multus.netlink.announce import announce
from multus.netlink.channel import Channel, Refused, Transport, open_channel
from multus.netlink.namespace import Namespace, NamespaceGone, is_namespace
from multus.netlink.wire import Message

__all__ = [
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
