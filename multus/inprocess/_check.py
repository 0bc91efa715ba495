"""CHECK: compare the attachment with its result.

Source: CNI specification 1.1.0, section "CHECK".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multus.api.errors import RECREATE, CheckFailed, InvalidConfig
from multus.netlink import Channel, Namespace, open_channel, results

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import Result
    from multus.netlink.links import Link

#: What to do about most differences.


@contextmanager
def attached_link(
    invocation: Invocation, kind: str, *, down_ok: bool = False
) -> Iterator[tuple[Link, Channel, Channel]]:
    """The container's link, and channels into the host's and the container's namespace.

    With *down_ok* the link may be down.

    Raises ``CheckFailed`` with the first difference from ADD's result.
    """
    result = invocation.prev_result
    if result is None:
        raise InvalidConfig(f"{invocation}: CHECK needs 'prevResult', the result of ADD")
    at = recorded(invocation, result)
    with (
        Namespace(invocation.request.netns) as pod,
        pod.channel() as inside,
        open_channel() as host,
    ):
        yield results.check(result, at, inside, kind=kind, down_ok=down_ok), host, inside


def recorded(invocation: Invocation, result: Result) -> int:
    """The index of the container's interface in the result."""
    for at, interface in enumerate(result.interfaces):
        if (interface.name, interface.sandbox) == (invocation.ifname, invocation.request.netns):
            return at
    raise CheckFailed(
        f"'prevResult' has no interface {invocation.ifname} in {invocation.request.netns}:"
        " the container's network namespace is not the one of its ADD",
        fix=RECREATE,
    )
