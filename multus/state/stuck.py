"""Stuck: a delegate whose removal always fails must not keep its container for ever.

Some configurations cannot be removed: the program was uninstalled, or its keys make it fail.  Every
DEL would fail, and the pod would never go.  After many failures, and only when the container's
network namespace is gone, the delegate is given up: it counts as removed, its addresses are
released, its record is kept for people, and the log and ``multus doctor`` say what may be left.
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
    from multus.state.journal import Journal
    from multus.state.plugins import Detached, Plugins
    from multus.state.record import Record, Step

#: After this many failures, the first this many seconds ago, a delegate is given up.
ENOUGH = 10
LONG_ENOUGH = 300.0


def without_stuck(
    record: Record, detached: Sequence[Detached], journal: Journal, plugins: Plugins
) -> list[Detached]:
    """*detached*, where delegates that are given up have no errors any more.

    They keep their errors when their record cannot be kept.
    """
    failed = [each for each in detached if each.errors]
    stuck = [each for each in failed if is_enough(record, each.number, plugins.request)]
    if not stuck:
        return list(detached)
    try:
        aside = journal.keep_stuck(record.path)
    except CNIError as error:
        plugins.log.error(
            f"{plugins.request}: the record of what cannot be removed cannot be kept", error=error
        )
        return list(detached)
    for each in stuck:
        plugins.log.error(
            f"{each.delegate} of {plugins.request} could not be removed in {ENOUGH} attempts and is"
            " given up: see what is left of it on this node",
            network=each.delegate.label or each.delegate.name,
            ifname=each.delegate.ifname,
            type=each.delegate.types,
            error=each.error,
            file=aside,
        )
        for step in record.planned[each.number].steps:
            _release_addresses(each.delegate, step, plugins)
    return [each._replace(errors=()) if each in stuck else each for each in detached]


def is_enough(record: Record, index: int, request: Request) -> bool:
    """Whether delegate *index* is given up when removing it fails once more."""
    known = record.failures.get(index)
    if known is None or known.times + 1 < ENOUGH or not is_gone(record, request.netns):
        return False
    # When the clock was set back, the number of failures decides alone.
    return not 0 <= time.time() - known.first <= LONG_ENOUGH


def _release_addresses(delegate: Delegate, step: Step, plugins: Plugins) -> None:
    """Release the addresses of one step: without a DEL they would stay in use for ever."""
    from multus import ipam

    invocation = plugins.invocation("DEL", delegate, step.plugin, step.config)

    def release() -> None:
        pool = ipam.for_plugin(invocation)
        if pool is not None:
            pool.delete()

    error = attempted(f"IPAM of plugin {step.plugin.type!r}", release)
    if error is not None:
        plugins.log.error(f"{delegate}: its addresses could not be released", error=error)
