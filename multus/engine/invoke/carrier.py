"""The plugins of one request, as a transaction uses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError
from multus.api.network import Carried
from multus.engine import order, resolve
from multus.engine.invoke.attach import attach
from multus.engine.invoke.call import Call
from multus.engine.invoke.detach import detach
from multus.engine.invoke.plan import plan

if TYPE_CHECKING:
    from multus.api.network import Attachment
    from multus.state.plugins import Detached
    from multus.state.record import Planned


class Carrier(Call):
    """A call with what ``multus.state.plugins.Plugins`` asks for: ADD, DEL, and what is offered."""

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
