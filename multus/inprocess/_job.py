"""One ADD of a link: what is asked, and the steps that links of every kind share."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from multus.api.errors import KernelRefused, attempted
from multus.api.result import Interface
from multus.netlink import Refused, links, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multus.api.network import Invocation
    from multus.api.result import Result
    from multus.inprocess._ends import Ends
    from multus.netlink import Message

#: Errors of a message that the kernel may have carried out: its answer did not come.
_UNANSWERED = (errno.ETIMEDOUT, errno.ENOBUFS)
#: Seconds that duplicate address detection may take.
_SETTLING = 5.0

C = TypeVar("C")


class Made(NamedTuple):
    """A link that was created: its index in the container, and the interfaces to report.

    ``at`` is the place of the container's interface among them.
    """

    link: int
    interfaces: tuple[Interface, ...]
    at: int = 0


class Job(Generic[C]):
    """One ADD: the ends, the invocation, its configuration, and what IPAM gave (or nothing).

    ``undo`` is an ``ExitStack`` of what a failure takes back, the last step first.
    """

    def __init__(
        self, ends: Ends, invocation: Invocation, config: C, given: Result, undo: ExitStack
    ) -> None:
        self.ends = ends
        self.invocation = invocation
        self.config = config
        self.given = given
        self.undo = undo

    @property
    def ifname(self) -> str:
        """The name of the interface in the container."""
        return self.invocation.ifname

    def interface(self, mac: str) -> Interface:
        """The container's interface, as a result reports it."""
        return Interface(self.ifname, mac, self.invocation.request.netns)

    def on_failure(self, step: Callable[..., object], *arguments: object) -> None:
        """Take this step when the ADD fails later."""
        self.undo.callback(take_back, self.invocation, step, *arguments)

    def create_inside(self, message: Message, *, from_inside: bool = False) -> int:
        """Create the container's link and return its index.

        *message* is sent from the host's namespace, where its parent is, or from the container's.
        A later failure deletes the link.  Raises ``KernelRefused`` when the name is taken.
        """
        gone = [links.delete(self.ifname, missing_ok=True)]
        with ExitStack() as mine:
            mine.callback(take_back, self.invocation, self.ends.inside.request, gone)
            try:
                (self.ends.inside if from_inside else self.ends.host).request([message])
            except Refused as error:
                if error.errno not in _UNANSWERED:
                    mine.pop_all()  # nothing was created: a link of this name is another one
                if error.errno == errno.EEXIST:
                    self.refuse_taken()
                raise
            reply = self.ends.inside.request([links.get(self.ifname)])[0]
            self.undo.push(mine.pop_all())
        return links.read_indexes(reply)[0]

    def refuse_taken(self) -> None:
        """Raise ``KernelRefused`` when the container has an interface of this name."""
        if links.find(self.ends.inside, self.ifname) is not None:
            raise KernelRefused(
                f"interface {self.ifname} exists already in {self.ends.pod.path}",
                fix="give the network another interface name, or delete the earlier attachment",
            )

    def apply(
        self, index: int, given: Result, *, alone: bool = False, then: Sequence[Message] = ()
    ) -> None:
        """Set the container's link up with the addresses and routes of *given*."""
        results.apply(
            given,
            namespace=self.ends.pod,
            channel=self.ends.inside,
            index=index,
            name=self.ifname,
            alone=alone,
            then=then,
            seconds=self.invocation.session.remaining(_SETTLING),
        )


def take_back(invocation: Invocation, step: Callable[..., object], *arguments: object) -> None:
    """Undo one step of a failed ADD.

    An error is only logged: the answer is ADD's own error, and the following DEL tries again.
    """
    error = attempted(f"type {invocation.plugin.type!r}", step, *arguments)
    if error is not None:
        invocation.log.error(f"{invocation}: a step could not be undone", error=error)
