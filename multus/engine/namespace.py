"""The container's namespace is not the node's: plugins would change the node's own network."""

from __future__ import annotations

from attrs import evolve

from multus.api.errors import InvalidNamespace
from multus.api.request import Request
from multus.state.liveness import is_nodes

#: With one of these values, letter case aside, ``CNI_NETNS_OVERRIDE`` says that it is meant.
_MEANT = ("1", "TRUE")


def require_containers(request: Request, chroot: str) -> None:
    """Refuse an ADD to the node's own namespace; raises ``InvalidNamespace``.

    The reference plugins refuse it only after they have made their interface and routes there.
    """
    if _is_nodes(request, chroot):
        raise InvalidNamespace(
            f"CNI_NETNS {request.netns} is the network namespace of the node, not of a container",
            fix="give the path of the container's; a pod on the node's network needs no CNI call",
        )


def removable(request: Request, chroot: str) -> Request:
    """The request of a DEL; one in the node's own namespace names none.

    Its plugins release addresses and rules then, and delete no interface of the node.
    """
    return evolve(request, netns="") if _is_nodes(request, chroot) else request


def _is_nodes(request: Request, chroot: str) -> bool:
    meant = request.environ.get("CNI_NETNS_OVERRIDE", "").upper() in _MEANT
    return bool(request.netns) and not meant and is_nodes(request.netns, chroot)
