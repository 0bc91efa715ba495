"""Stuck: a delegate whose removal fails again and again must not hold its container for ever.

A configuration that no plugin can remove (its program is gone for good, its keys make the plugin
fail) would fail every DEL, and the pod would never go.  After many failures, and only when the
container's network namespace is gone, the delegate counts as removed: its addresses are released,
its record is kept for people, and the log and ``multus doctor`` say what may be left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, attempted
from multus.state.liveness import is_gone

if TYPE_CHECKING:
    from multus.api.network import Delegate
    from multus.api.request import Request
    from multus.engine.invoke import Call, Detached
    from multus.state.journal import Journal
    from multus.state.record import Record, Step

#: So many failures, the first so many seconds ago, are enough.
ENOUGH = 10
LONG_ENOUGH = 300.0


def without_stuck(
    record: Record, detached: Sequence[Detached], journal: Journal, call: Call
) -> list[Detached]:
    """*detached*, where those that are given up have no errors any more.

    Where their record cannot be kept, they keep their errors.
    """
    failed = [each for each in detached if each.errors]
    stuck = [each for each in failed if is_enough(record, each.number, call.request)]
    if not stuck:
        return list(detached)
    try:
        aside = journal.keep_stuck(record.path)
    except CNIError as error:
        call.log.error(f"{call.request}: what cannot be removed cannot be set aside", error=error)
        return list(detached)
    for each in stuck:
        call.log.error(
            f"{each.delegate} of {call.request} could not be removed in {ENOUGH} attempts and is"
            " given up: see what is left of it on this node",
            network=each.delegate.label or each.delegate.name,
            ifname=each.delegate.ifname,
            type=each.delegate.types,
            error=each.error,
            file=aside,
        )
        for step in record.planned[each.number].steps:
            _release_addresses(each.delegate, step, call)
    return [each._replace(errors=()) if each in stuck else each for each in detached]


def is_enough(record: Record, index: int, request: Request) -> bool:
    """Whether one more failure to remove delegate *index* is the last one."""
    known = record.failures.get(index)
    if known is None or known.count + 1 < ENOUGH or not is_gone(record, request.netns):
        return False
    # A clock that was set back says nothing; the number of failures has to do then.
    return not 0 <= time.time() - known.first <= LONG_ENOUGH


def _release_addresses(delegate: Delegate, step: Step, call: Call) -> None:
    """Give back the addresses of one step: nobody else does, and the pool would run dry."""
    from multus import ipam

    invocation = call.invocation("DEL", delegate, step.plugin, step.config)

    def release() -> None:
        pool = ipam.for_plugin(invocation)
        if pool is not None:
            pool.delete()

    error = attempted(f"IPAM of plugin {step.plugin.type!r}", release)
    if error is not None:
        call.log.error(f"{delegate}: its addresses could not be released", error=error)
