"""The merger that reports everything: all attachments in one result."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from multus import hookimpl
from multus.model.conf import Conf
from multus.model.network import Attachment
from multus.model.result import IP, Interface, Result


@hookimpl
def multus_merge(attachments: Sequence[Attachment], conf: Conf) -> Result | None:
    """All attachments' results in one, the primary's first, when ``merger`` is ``all``."""
    if conf.merger != "all":
        return None
    ordered = sorted(attachments, key=lambda each: not each.delegate.primary)
    merged = Result(dns=ordered[0].result.dns)
    for attachment in ordered:
        result = _placed(attachment).shifted(len(merged.interfaces))
        merged = evolve(
            merged,
            interfaces=merged.interfaces + result.interfaces,
            ips=merged.ips + result.ips,
            routes=merged.routes + tuple(r for r in result.routes if r not in merged.routes),
        )
    return merged


def _placed(attachment: Attachment) -> Result:
    """The result with every address on an interface.

    Plugins of the first versions report addresses alone; in a result of many interfaces an
    address without one would be taken for the primary's.
    """
    result = attachment.result
    if not result.ips or all(ip.interface is not None for ip in result.ips):
        return result
    name = attachment.delegate.ifname
    links = result.interfaces
    index = next((i for i, link in enumerate(links) if link.name == name), len(links))
    if index == len(links):
        links = (*links, Interface(name=name))
    ips = tuple(
        ip if ip.interface is not None else IP(ip.address, ip.gateway, index) for ip in result.ips
    )
    return evolve(result, interfaces=links, ips=ips)
