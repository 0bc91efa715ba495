"""Whether anything of a container is left for a plugin that is not installed.

An ADD whose plugin is not installed is refused before anything is attached, and has no record.
Its DEL asks the same plugin.  It may succeed without the plugin only when neither the container's
namespace nor an address store has anything of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, NotInstalled

if TYPE_CHECKING:
    from multus.api.request import Request
    from multus.state.plugins import Detached, Plugins
    from multus.state.record import Planned


def without_uninstalled(
    planned: Sequence[Planned], detached: Sequence[Detached], plugins: Plugins
) -> list[Detached]:
    """*detached*, without the errors of plugins that are not installed and left nothing.

    The caller knows that no record names the container.
    """
    return [_settled(planned[each.number], each, plugins) for each in detached]


def _settled(planned: Planned, each: Detached, plugins: Plugins) -> Detached:
    absent = [error for error in each.errors if isinstance(error, NotInstalled)]
    if not absent:
        return each
    try:
        left = next(_left(planned, plugins.request), "")
    except CNIError as error:
        plugins.log.error(f"what is left of {each.delegate} cannot be looked up", error=error)
        return each
    if left:
        plugins.log.error(f"{each.delegate} of {plugins.request} needs its plugin: {left}")
        return each
    for reason in absent:
        plugins.log.error(
            f"{each.delegate} of {plugins.request} was never attached: it has no record, no"
            " interface and no address, and its plugin is not installed",
            error=reason,
        )
    return each._replace(errors=tuple(e for e in each.errors if e not in absent))


def _left(planned: Planned, request: Request) -> Iterator[str]:
    """What exists of a delegate; raises ``CNIError`` when that cannot be seen."""
    from multus.ipam import held
    from multus.netlink import Namespace, NamespaceGone, links
    from multus.state.liveness import netns_identity

    ifname = planned.delegate.ifname
    if ifname and netns_identity(request.netns):
        try:
            with Namespace(request.netns) as pod, pod.channel() as channel:
                if links.find(channel, ifname) is not None:
                    yield f"interface {ifname} is in {request.netns}"
        except NamespaceGone:
            pass  # what was in it is gone with it
    for step in planned.steps:
        for address in held(step.config, request.container_id, ifname):
            yield f"address {address} is allocated to it"
