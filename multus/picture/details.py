"""One pod in all its details, as a part of a page."""

from __future__ import annotations

import time
from collections.abc import Iterator

from multus.picture.frame import text
from multus.picture.model import Interface, Node, Pod, described


def details(node: Node, container: str) -> str:
    """The pod with this container, as HTML; "" when there is none."""
    pod = next((each for each in node.pods if each.container == container), None)
    if pod is None:
        return ""
    interfaces = "".join(_interface(node, each) for each in pod.interfaces)
    return (
        '<div class="box"><div class="title">'
        f'<h2>{text(pod.title)}</h2><a href="?" data-close data-key="close">Close</a></div>'
        f"{_list(_about(pod))}"
        f'<div class="interfaces">{interfaces}</div></div>'
    )


def _about(pod: Pod) -> Iterator[tuple[str, str]]:
    if pod.problem:
        yield "Wrong", pod.problem
    yield "Container", pod.container
    yield "Network namespace", pod.netns
    if pod.started:
        yield "Attached", time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(pod.started))


def _interface(node: Node, each: Interface) -> str:
    return f"<section><h3><code>{text(each.name)}</code></h3>{_list(_facts(node, each))}</section>"


def _facts(node: Node, each: Interface) -> Iterator[tuple[str, str]]:
    parent = node.parent(each.parent)
    if each.problem:
        yield "Wrong", each.problem
    yield "Network", each.network
    yield "State", each.state if each.up or each.problem else f"{each.state}, down"
    yield "Plugins", ", ".join(each.types)
    yield "Attached by", ", ".join(each.invokers)
    yield "Kind", each.kind
    yield "Device", each.device
    yield "Host's end", each.end
    yield "Attached to", ", ".join(filter(None, (parent.name, described(parent))))
    yield from (("Address", address) for address in each.addresses)
    yield "Gateway", ", ".join(each.gateways)
    yield "MAC", each.mac
    yield "MTU", str(each.mtu or "")


def _list(facts: Iterator[tuple[str, str]]) -> str:
    rows = "".join(
        f'<dt>{title}</dt><dd class="{"wrong" if title == "Wrong" else "mono"}">{text(value)}</dd>'
        for title, value in facts
        if value
    )
    return f"<dl>{rows}</dl>"
