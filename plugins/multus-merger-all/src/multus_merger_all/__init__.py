"""The merger that reports all attachments in one result.

Runtimes check a result strictly: containerd refuses an interface index out of range, and podman
refuses an interface of the container without a hardware address.  Neither assigns an address
without an interface to one of the other networks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.network import Attachment
from multus.api.request import Request
from multus.api.result import Interface, Result

#: The address of an interface whose plugin reports none.
UNKNOWN = "00:00:00:00:00:00"

#: EUI-48, EUI-64 and IP over InfiniBand, as runtimes read them. Compiled on first use: standalone
#: calls import this module and rarely need it.
_ADDRESS = (
    r"[0-9a-f]{2}(?:(?:[:-][0-9a-f]{2}){5}|(?:[:-][0-9a-f]{2}){7}|(?:[:-][0-9a-f]{2}){19})"
    r"|[0-9a-f]{4}(?:(?:\.[0-9a-f]{4}){2}|(?:\.[0-9a-f]{4}){3}|(?:\.[0-9a-f]{4}){9})"
)


@hookimpl
def multus_merge(attachments: Sequence[Attachment], request: Request, conf: Conf) -> Result | None:
    """All attachments' results in one, the primary's first, when ``merger`` is ``all``."""
    if conf.merger != "all":
        return None
    ordered = sorted(attachments, key=lambda each: not each.delegate.primary)
    merged = Result(dns=ordered[0].result.dns)
    for attachment in ordered:
        result = _placed(attachment, request.netns).shifted(len(merged.interfaces))
        merged = evolve(
            merged,
            interfaces=merged.interfaces + tuple(_addressed(each) for each in result.interfaces),
            ips=merged.ips + result.ips,
            routes=merged.routes + tuple(r for r in result.routes if r not in merged.routes),
        )
    return merged


def _placed(attachment: Attachment, netns: str) -> Result:
    """The result with every address on an interface of the container.

    Plugins before CNI 0.3.0 report only addresses; in a result with many interfaces, an address
    without one would count as the primary's.
    """
    result = attachment.result
    if all(ip.interface is not None for ip in result.ips):
        return result
    links = result.interfaces
    inside = [index for index, link in enumerate(links) if link.sandbox]
    name = attachment.delegate.ifname
    index = next((i for i in inside if links[i].name == name), inside[0] if inside else len(links))
    if index == len(links):
        links = (*links, Interface(name, sandbox=netns))
    ips = (ip if ip.interface is not None else evolve(ip, interface=index) for ip in result.ips)
    return evolve(result, interfaces=links, ips=tuple(ips))


def _addressed(link: Interface) -> Interface:
    """The interface; one of the container always gets a valid hardware address."""
    if not link.sandbox or re.fullmatch(_ADDRESS, link.mac, re.IGNORECASE):
        return link
    return evolve(link, mac=UNKNOWN)
