"""What a transaction needs of the engine, which carries the plugins out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from multus.api.errors import CNIError

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment, Delegate, Invocation, Plugin
    from multus.api.request import Request
    from multus.log import Log
    from multus.state.record import Planned

_P = TypeVar("_P", bound="Plugins")


class Detached(NamedTuple):
    """How DEL of a delegate ended: ``errors`` is empty when it is gone.

    ``started`` is in seconds since 1970, ``seconds`` how long it took.
    """

    number: int
    delegate: Delegate
    errors: tuple[CNIError, ...] = ()
    started: float = 0.0
    seconds: float = 0.0

    @property
    def error(self) -> CNIError | None:
        """All errors in one, or None."""
        return joined(self.errors) if self.errors else None


def joined(errors: Sequence[CNIError]) -> CNIError:
    """One error out of several: the first's code and message, the others in its details."""
    return errors[0].detailed(*map(str, errors[1:])) if len(errors) > 1 else errors[0]


class Plugins(Protocol):
    """One request and the plugins that carry it out: what a transaction needs of the engine.

    Methods that carry out several things return errors; those that carry out one raise.
    """

    @property
    def request(self) -> Request: ...

    @property
    def conf(self) -> Conf: ...

    @property
    def kept_conf(self) -> Mapping[str, Any]:
        """The keys of the configuration that the journal keeps: those of no single request."""

    @property
    def log(self) -> Log: ...

    def holding(self: _P, lock: int) -> _P:
        """The same, where started processes inherit the descriptor *lock*."""

    def asked_by(self: _P, request: Request) -> _P:
        """The same on behalf of another *request*."""

    def attach(self, planned: Planned, reached: Callable[[Attachment], None]) -> Attachment:
        """Carry out ADD of a delegate's chain; *reached* is called after each step."""

    def detach(
        self, planned: Sequence[tuple[int, Planned]], done: Mapping[int, Attachment]
    ) -> list[Detached]:
        """Carry out DEL of delegates, given with their indexes; the last first."""

    def offered(self) -> tuple[Planned, ...]:
        """What the configuration offers every container; raises when that cannot be said."""

    def invocation(
        self, verb: str, delegate: Delegate, plugin: Plugin, config: Mapping[str, object]
    ) -> Invocation:
        """One plugin's part, as invokers get it."""
