"""A call: one request and the installed plugins that carry it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api import keys
from multus.api.errors import CNIError
from multus.api.network import Carried, Invocation
from multus.engine import order, resolve
from multus.engine.invoke.attach import attach
from multus.engine.invoke.detach import detach
from multus.engine.invoke.plan import plan

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment, Delegate, Plugin
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.api.session import Session
    from multus.log import Log
    from multus.registry.discovery import Installed
    from multus.state.record import Planned
    from multus.state.undo import Detached


@frozen
class Call:
    """One request, and the installed plugins that carry it out.

    ``lock`` is the descriptor of the container's lock, which started plugins inherit; None when
    the lock is not held.  ``carried`` collects what each delegate took part in, for the outcome:
    the request's own verb, not what is undone.  A transaction uses the methods
    (``multus.state.transaction.Plugins``).
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

    @property
    def kept_conf(self) -> Mapping[str, Any]:
        """The configuration as the journal keeps it."""
        table = (*keys.OWN, *self.installed.hooks.configuration_keys())
        return keys.kept(self.conf.raw, table)

    def holding(self, lock: int) -> Call:
        """The same call while the container's *lock* is held."""
        return evolve(self, lock=lock)

    def asked_by(self, request: Request) -> Call:
        """The same call on behalf of another *request*."""
        return evolve(self, request=request)

    def attach(self, planned: Planned, reached: Callable[[Attachment], None]) -> Attachment:
        """ADD of one delegate; see ``multus.engine.invoke.attach``."""
        started, clock = time.time(), time.perf_counter()
        failed: CNIError | None = None
        try:
            return attach(planned, self, reached)
        except CNIError as error:
            failed = error
            raise
        finally:
            seconds = time.perf_counter() - clock
            self.carried.append(Carried(planned.delegate, started, seconds, failed))

    def detach(
        self, planned: Sequence[tuple[int, Planned]], done: Mapping[int, Attachment]
    ) -> list[Detached]:
        """DEL of delegates; see ``multus.engine.invoke.detach``."""
        detached = detach(planned, done, self)
        if self.request.command == "DEL":
            self.carried.extend(
                Carried(each.delegate, each.started, each.seconds, each.error) for each in detached
            )
        return detached

    def offered(self) -> tuple[Planned, ...]:
        """What the configuration offers every container, planned; raises ``CNIError``."""
        asked = (self.request, self.conf, self.session)
        resolved = resolve.resolve(self.installed, *asked)
        delegates = order.order(self.installed.hooks, resolved, *asked)
        return plan(delegates, self)

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
