"""The merger that reports everything: all attachments in one result.

Runtimes are strict with a result: an index out of range is an error to containerd, and so is, to
podman, an interface of the container without a hardware address; both take an address without an
interface for none of the others' networks.
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

#: The address of an interface whose own nobody told.
UNKNOWN = "00:00:00:00:00:00"

#: EUI-48, EUI-64 and IP over InfiniBand, as runtimes read them. Compiled when it is used: a process
#: for one call imports this module, and has mostly no use for it.
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

    Plugins of the first versions report addresses alone; in a result of many interfaces an
    address without one would be taken for the primary's.
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
    """The interface with a hardware address that can be read, if it is the container's."""
    if not link.sandbox or re.fullmatch(_ADDRESS, link.mac, re.IGNORECASE):
        return link
    return evolve(link, mac=UNKNOWN)
