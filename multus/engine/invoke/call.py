"""A call: one request and the installed plugins that carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from multus.api import keys
from multus.api.network import Carried, Invocation

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.delegation import Delegated
    from multus.api.network import Delegate, Plugin
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.api.session import Session
    from multus.log import Log
    from multus.registry.loading import Installed


_C = TypeVar("_C", bound="Call")


class Call:
    """One request, and the installed plugins that carry it out; it is not changed after it is made.

    ``lock`` is the descriptor of the container's lock, which started plugins inherit; None when
    the lock is not held.  ``carried`` collects what each delegate took part in, for the outcome:
    the request's own verb, not what is undone.
    """

    def __init__(
        self,
        installed: Installed,
        session: Session,
        request: Request,
        conf: Conf,
        lock: int | None = None,
        carried: list[Carried] | None = None,
    ) -> None:
        self.installed = installed
        self.session = session
        self.request = request
        self.conf = conf
        self.lock = lock
        self.carried = [] if carried is None else carried

    @property
    def log(self) -> Log:
        """The session's."""
        return self.session.log

    @property
    def kept_conf(self) -> Mapping[str, Any]:
        """The configuration as the journal keeps it."""
        table = (*keys.OWN, *self.installed.hooks.configuration_keys())
        return keys.kept(self.conf.raw, table)

    def holding(self: _C, lock: int) -> _C:
        """The same call while the container's *lock* is held."""
        return self._with(self.request, lock)

    def asked_by(self: _C, request: Request) -> _C:
        """The same call on behalf of another *request*."""
        return self._with(request, self.lock)

    def _with(self: _C, request: Request, lock: int | None) -> _C:
        return type(self)(self.installed, self.session, request, self.conf, lock, self.carried)

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
            delegating=self._delegated,
            ipams=self.installed.hooks.ipams,
        )

    def _delegated(self, outer: Invocation, config: Mapping[str, Any]) -> Delegated:
        # Few plugins delegate.
        from multus.engine.invoke.delegation import delegated

        return delegated(self.installed, outer, config)
