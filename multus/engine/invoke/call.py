"""A call: one request and the installed plugins that carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, field, frozen

from multus.api.network import Carried, Invocation

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Plugin
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.api.session import Session
    from multus.log import Log
    from multus.registry.loading import Installed


_C = TypeVar("_C", bound="Call")


@frozen
class Call:
    """One request, and the installed plugins that carry it out.

    ``lock`` is the descriptor of the container's lock, which started plugins inherit; None when
    the lock is not held.  ``carried`` collects what each delegate took part in, for the outcome:
    the request's own verb, not what is undone.
    """

    installed: Installed
    session: Session
    request: Request
    conf: Conf
    lock: int | None = None
    carried: list[Carried] = field(factory=list, eq=False, repr=False)

    @property
    def log(self) -> Log:
        """The session's."""
        return self.session.log

    def holding(self: _C, lock: int) -> _C:
        """The same call while the container's *lock* is held."""
        return evolve(self, lock=lock)

    def asked_by(self: _C, request: Request) -> _C:
        """The same call on behalf of another *request*."""
        return evolve(self, request=request)

    def invocation(
        self,
        verb: str,
        delegate: Delegate,
        plugin: Plugin,
        config: Mapping[str, object],
        prev_result: Result | None = None,
    ) -> Invocation:
        """What an invoker is given."""
        return Invocation(
            verb=verb,
            delegate=delegate,
            plugin=plugin,
            config=config,
            request=self.request,
            conf=self.conf,
            session=self.session,
            log=self.log.bind(network=delegate.label, ifname=delegate.ifname, type=plugin.type),
            prev_result=prev_result,
            inherited=() if self.lock is None else (self.lock,),
        )
