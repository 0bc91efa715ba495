"""Attach: ADD of one delegate's chain of plugins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from multus.api.errors import CNIError
from multus.api.network import Attachment
from multus.api.result import Result
from multus.engine.invoke.calling import call_in_common_version, malformed_answer, naming_delegate
from multus.engine.invoke.plan import invoker_of

if TYPE_CHECKING:
    from multus.engine.invoke.call import Call
    from multus.state.record import Planned


def attach(
    planned: Planned, call: Call, reached: Callable[[Attachment], None] = lambda _: None
) -> Attachment:
    """Carry out ADD of one delegate's chain; each plugin gets the result of the one before it.

    After every step, *reached* is called with the attachment so far.
    """
    started = time.perf_counter()
    attachment = Attachment(planned.delegate)
    for step in planned.steps:
        try:
            invoker = invoker_of(step, planned.delegate, call)
            before = attachment.result if attachment.versions else None
            invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config, before)
            result, version = call_in_common_version(invoker, invocation, invoker.add)
            if not isinstance(result, Result):
                raise malformed_answer(invoker, "ADD", result)
        except CNIError as error:
            raise naming_delegate(error, planned.delegate, step.plugin) from error
        attachment = Attachment(
            planned.delegate,
            result=result,
            versions=(*attachment.versions, version),
            invokers=(*attachment.invokers, invoker.name),
            seconds=time.perf_counter() - started,
        )
        reached(attachment)
    return attachment
