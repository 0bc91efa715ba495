"""Attach: ADD of one delegate's chain of plugins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CNIError, described
from multus.api.jsontext import encode
from multus.api.network import Attachment
from multus.api.result import Result
from multus.api.versions import NEWEST
from multus.engine.invoke.calling import call_in_common_version, malformed, naming_delegate
from multus.engine.invoke.explained import explained
from multus.engine.invoke.plan import invoker_of
from multus.registry.answers import misfit

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Delegate, Plugin
    from multus.engine.invoke.call import Call
    from multus.state.record import Planned

_FIX = "return a Result, Result() when there is nothing to report"


def attach(
    planned: Planned, call: Call, reached: Callable[[Attachment], None] = lambda _: None
) -> Attachment:
    """Carry out ADD of one delegate's chain; each plugin gets the result of the one before it.

    After every step, *reached* is called with the attachment so far.  At the end, the result is
    compared with what was requested.
    """
    started = time.perf_counter()
    _describe_device(planned.delegate, call)
    attachment = Attachment(planned.delegate)
    for step in planned.steps:
        try:
            invoker = invoker_of(step, planned.delegate, call)
            before = attachment.result if attachment.versions else None
            invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config, before)
            with explained(invocation):
                result, version = call_in_common_version(invoker, invocation, invoker.add)
            wrong = misfit(result, Result)
            if wrong:
                raise malformed(invoker, "add", wrong, _FIX)
        except CNIError as error:
            raise naming_delegate(error, planned.delegate, step.plugin) from error
        attachment = Attachment(
            planned.delegate,
            result=result,
            versions=(*attachment.versions, version),
            invokers=(*attachment.invokers, invoker.name),
            seconds=time.perf_counter() - started,
        )
        try:
            reached(attachment)
        except (TypeError, ValueError, AttributeError) as error:
            raise _blamed(attachment, invoker, step.plugin, error) from error
    return _compared(attachment, call) if planned.delegate.runtime_config else attachment


def _compared(attachment: Attachment, call: Call) -> Attachment:
    """*attachment* with what it lacks of the requests; raises for it when that is configured."""
    from multus.engine import requests

    netns, log = call.request.netns, call.log
    if call.conf.unserved_requests == "refuse":
        requests.require_served(attachment, netns, log)
        return attachment
    unserved = requests.unserved(attachment, netns, log)
    for each in unserved:
        log.error(f"{requests.place(attachment.delegate)}: {each}")
    return evolve(attachment, unserved=unserved) if unserved else attachment


def _describe_device(delegate: Delegate, call: Call) -> None:
    """Copy the device's description for the plugins; without it they still know the device."""
    if not delegate.device_info:
        return
    from multus.api import deviceinfo

    try:
        deviceinfo.copy(delegate.resource, delegate.device, delegate.device_info)
    except OSError as error:
        call.log.error(f"{delegate}: its device information is not copied", error=error)


def _blamed(
    attachment: Attachment, invoker: Invoker, plugin: Plugin, error: Exception
) -> Exception:
    """The invoker's error, when its result is why the attachment could not be written down."""
    try:
        encode(attachment.result.to_wire(NEWEST))
    except (TypeError, ValueError, AttributeError) as reason:
        wrong = f"a result that cannot be written ({described(reason)})"
        return naming_delegate(malformed(invoker, "add", wrong, _FIX), attachment.delegate, plugin)
    return error
