"""Pods' network namespaces, taken down where that disturbs no measurement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from multus.netlink import NETLINK_NETFILTER, Namespace, create, links, open_channel
from multus.testing.netns import Netns

_LONGEST_S = 60.0


@contextmanager
def namespaces(count: int) -> Iterator[list[Netns]]:
    """So many of them.

    The kernel takes one apart some time after its removal, under the lock that every change of a
    link needs: the end waits until it has done so.
    """
    with ExitStack() as stack:
        made = []
        stack.callback(settle)
        for _ in range(count):
            made.append(Netns.create("bench"))
            stack.callback(made[-1].remove)
        yield made


def settle() -> None:
    """Wait until the kernel has taken all removed namespaces apart.

    One more is removed: when the link into it is gone, all others are too.
    """
    pod = Netns.create("bench")
    with Namespace.current() as host, host.channel() as channel:
        with Namespace(pod.path) as inside:
            channel.request([create.veth("benchlast", "eth0", peer_namespace=inside)])
        pod.remove()
        end = time.monotonic() + _LONGEST_S
        while links.find(channel, "benchlast") and time.monotonic() < end:
            time.sleep(0.005)


def settle_rules() -> None:
    """Wait until the kernel has freed the rules of netfilter that were deleted here.

    It lets the next change of rules wait for that, whoever makes it.
    """
    # The close of such a socket waits too.
    open_channel(NETLINK_NETFILTER).close()
