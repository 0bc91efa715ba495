"""The page of a cluster: nodes × networks, what is wrong, who has which address.

``ClusterPage`` answers requests for the page and for its parts; it knows nothing of HTTP's wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import urlencode

from attrs import frozen

from multus.picture import frame
from multus.picture.cluster.model import (
    Attached,
    Cluster,
    Duplicate,
    Holder,
    Waiting,
    rows,
    summary,
)
from multus.picture.filtering import Wanted
from multus.picture.page import NOT_FOUND, Answer, answered

#: So many nodes, networks, addresses and problems are shown at once.
_NODES, _NETWORKS, _ROWS, _PROBLEMS = 200, 24, 500, 50


@frozen
class ClusterPage:
    """Answers for the cluster that ``look`` has seen last."""

    look: Callable[[], Cluster]

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """The page at ``/``, its parts at ``/parts``."""
        if path == "/":
            return answered("text/html; charset=utf-8", _page(self.look(), query))
        if path == "/parts":
            body = frame.parts_json(_parts(self.look(), query))
            return answered("application/json", body)
        return NOT_FOUND


def _page(cluster: Cluster, query: Mapping[str, str]) -> bytes:
    parts = _parts(cluster, query)
    heading = (
        f"<h1>{frame.text(cluster.name)}</h1>{frame.part('summary', parts['summary'])}"
        '<span class="live" role="status"></span>'
    )
    body = [
        frame.part("notes", parts["notes"]),
        frame.part("problems", parts["problems"], label="What is wrong"),
        frame.part("picture", parts["picture"], label="Nodes and networks"),
        frame.part("details", parts["details"], label="The chosen pod"),
        frame.part("addresses", parts["addresses"], label="Addresses"),
    ]
    lists = parts["namespace"], parts["network"]
    form = frame.form(Wanted.of(query), *lists, hint="name, address or node")
    return frame.document(cluster.name, heading, body, form, skip="addresses")


def _parts(cluster: Cluster, query: Mapping[str, str]) -> dict[str, str]:
    wanted = Wanted.of(query)
    asks = bool(wanted.to_query())
    kept = [each for each in cluster.attached if _keeps(wanted, each)] if asks else cluster.attached
    counts = _counted(kept) if asks else cluster.counts
    return {
        "namespace": frame.choices(wanted.namespace, _namespaces(cluster)),
        "network": frame.choices(wanted.network, sorted(cluster.networks)),
        "summary": frame.text(_summary(cluster)),
        "notes": "".join(f'<p class="note">not read: {frame.text(n)}</p>' for n in cluster.notes),
        "problems": _problems(cluster),
        "picture": _matrix(cluster, counts, wanted),
        "details": _details(cluster, query.get("chosen", "")),
        "addresses": _addresses(cluster, kept, wanted),
    }


def _keeps(wanted: Wanted, each: Attached) -> bool:
    holder = each.holder
    if wanted.network and each.network != wanted.network:
        return False
    if wanted.namespace and holder.pod.partition("/")[0] != wanted.namespace:
        return False
    told = (holder.pod, holder.node, *each.addresses)
    return any(wanted.pod.lower() in text.lower() for text in told)


def _namespaces(cluster: Cluster) -> list[str]:
    holders = [*(each.holder for each in cluster.attached), *(e.holder for e in cluster.waiting)]
    return sorted({each.pod.partition("/")[0] for each in holders})


def _counted(attached: Sequence[Attached]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for each in attached:
        found = counts.setdefault(each.holder.node or "?", {})
        found[each.network] = found.get(each.network, 0) + 1
    return counts


def _summary(cluster: Cluster) -> str:
    if not cluster.moment:
        return "not read yet"
    read = time.strftime("%H:%M:%SZ", time.gmtime(cluster.moment))
    return f"{summary(cluster)}, read at {read}"


# --- What is wrong --------------------------------------------------------------------------------


def _problems(cluster: Cluster) -> str:
    found = [*map(_duplicate, cluster.duplicates), *map(_waiting, cluster.waiting)]
    if not found:
        return (
            '<p class="right">✓ no address is there twice, no status is missing</p>'
            if (cluster.is_right)
            else ""
        )
    more = len(found) - _PROBLEMS
    rest = f"<li>and {more} more</li>" if more > 0 else ""
    listed = "".join(f"<li>{each}</li>" for each in found[:_PROBLEMS])
    return f'<h2>{len(found)} to look at</h2><ul class="problems">{listed}{rest}</ul>'


def _duplicate(each: Duplicate) -> str:
    holders = ", ".join(map(_holder, each.holders[:8]))
    more = f" and {len(each.holders) - 8} more" if len(each.holders) > 8 else ""
    return (
        f'<b class="wrong">✗ duplicate</b> <code>{frame.text(each.address)}</code> in network'
        f" <b>{frame.text(each.network)}</b>: {holders}{more}"
    )


def _waiting(each: Waiting) -> str:
    since = f" since {frame.text(each.created)}" if each.created else ""
    return (
        f'<b class="waiting">! no status</b> {_holder(each.holder)} asked for'
        f" <code>{frame.text(each.asked)}</code>{since}"
    )


def _holder(holder: Holder) -> str:
    on = f" on {frame.text(holder.node)}" if holder.node else ""
    return f"{_pod_link(holder.pod)}{on}"


def _pod_link(pod: str, kept: Mapping[str, str] | None = None) -> str:
    where = urlencode({**(kept or {}), "chosen": pod})
    return f'<a href="?{frame.text(where)}" data-pod="{frame.text(pod)}">{frame.text(pod)}</a>'


# --- Nodes × networks -----------------------------------------------------------------------------


def _matrix(cluster: Cluster, counts: Mapping[str, Mapping[str, int]], wanted: Wanted) -> str:
    if not counts:
        if cluster.counts:
            return '<p class="empty">No pod matches. <a class="all" href="?">Show all</a></p>'
        return '<p class="empty">No pod has a network-status annotation.</p>'
    here = {network for each in counts.values() for network in each}
    networks = [each for each in cluster.networks if each in here]
    shown, rest = networks[:_NETWORKS], networks[_NETWORKS:]
    most = max(count for each in counts.values() for count in each.values())
    nodes = sorted(counts)
    titles = "".join(
        f'<th scope="col">{_choose(wanted, each, network=each)}</th>' for each in shown
    )
    titles += f'<th scope="col">{len(rest)} more</th>' if rest else ""
    lines = "".join(
        f'<tr><th scope="row">{_choose(wanted, node, pod=node)}</th>'
        f"{_cells(wanted, node, counts[node], shown, rest, most)}</tr>"
        for node in nodes[:_NODES]
    )
    said = f'<p class="soft">{_NODES} of {len(nodes)} nodes</p>' if len(nodes) > _NODES else ""
    return (
        '<div class="matrix"><table><thead><tr><th scope="col">Node</th>'
        f"{titles}</tr></thead><tbody>{lines}</tbody></table></div>{said}"
    )


def _cells(
    wanted: Wanted,
    node: str,
    counts: Mapping[str, int],
    shown: Sequence[str],
    rest: Sequence[str],
    most: int,
) -> str:
    """A node's counts; the shade says how many they are, beside the number."""
    cells = []
    for network in shown:
        count = counts.get(network, 0)
        shade = 1 + round(7 * count / most) if count else 0
        text = _choose(wanted, str(count), network=network, pod=node) if count else "·"
        cells.append(f'<td class="s{shade}">{text}</td>')
    if rest:
        cells.append(f"<td>{sum(counts.get(each, 0) for each in rest) or '·'}</td>")
    return "".join(cells)


def _choose(wanted: Wanted, said: str, **change: str) -> str:
    """A link to the page with another filter."""
    where = urlencode({**wanted.to_query(), **change})
    return f'<a href="?{frame.text(where)}">{frame.text(said)}</a>'


# --- Pods and addresses ---------------------------------------------------------------------------


def _details(cluster: Cluster, pod: str) -> str:
    """The pod ``NAMESPACE/NAME`` with all its interfaces; "" when there is none."""
    found = [each for each in cluster.attached if each.holder.pod == pod] if pod else []
    waits = [each for each in cluster.waiting if each.holder.pod == pod] if pod else []
    if not found and not waits:
        return ""
    node = [*(each.holder.node for each in found), *(each.holder.node for each in waits)][0]
    asked = "".join(f"<dt>Asked for</dt><dd>{frame.text(each.asked)}</dd>" for each in waits)
    interfaces = "".join(
        f"<section><h3><code>{frame.text(each.holder.interface or '?')}</code></h3><dl>"
        f"{''.join(_facts(each))}</dl></section>"
        for each in found
    )
    return (
        f'<div class="box"><div class="title"><h2>{frame.text(pod)}</h2>'
        '<a href="?" data-close data-key="close">Close</a></div>'
        f"<dl><dt>Node</dt><dd>{frame.text(node or 'not known')}</dd>{asked}</dl>"
        f'<div class="interfaces">{interfaces}</div></div>'
    )


def _facts(each: Attached) -> Iterator[str]:
    facts = [("Network", each.network), *(("Address", address) for address in each.addresses)]
    for title, value in [*facts, ("MAC", each.mac)]:
        if value:
            yield f'<dt>{title}</dt><dd class="mono">{frame.text(value)}</dd>'


def _addresses(cluster: Cluster, kept: Sequence[Attached], wanted: Wanted) -> str:
    if not kept:
        return ""
    twice = {(each.network, each.address) for each in cluster.duplicates}
    count = sum(len(each.addresses) or 1 for each in kept)
    listed = "".join(
        _row(address, each, wanted, twice=(each.network, address) in twice)
        for address, each in islice(rows(kept), _ROWS)
    )
    said = f'<p class="soft">{_ROWS} of {count} addresses: ask for fewer by the filter</p>'
    more = said if count > _ROWS else ""
    titles = "".join(
        f'<th scope="col">{each}</th>'
        for each in ("Address", "Network", "Pod", "Interface", "Node", "MAC")
    )
    return (
        f'<h2>Addresses</h2>{more}<table class="addresses">'
        f"<thead><tr>{titles}</tr></thead><tbody>{listed}</tbody></table>"
    )


def _row(address: str, each: Attached, wanted: Wanted, *, twice: bool) -> str:
    holder = each.holder
    mark = ' <b class="wrong">✗ twice</b>' if twice else ""
    cells = [
        f"<code>{frame.text(address)}</code>{mark}",
        frame.text(each.network),
        _pod_link(holder.pod, wanted.to_query()),
        f"<code>{frame.text(holder.interface)}</code>",
        frame.text(holder.node),
        f"<code>{frame.text(each.mac)}</code>",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
