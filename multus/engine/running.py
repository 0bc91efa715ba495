"""One network of a running container: attached, detached, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.delegates import delegate_from
from multus.api.errors import BadEnvironment, CNIError, UnknownContainer
from multus.engine.invoke.plan import plan, prepare
from multus.engine.resolve import one_more
from multus.state.undo import request_for

if TYPE_CHECKING:
    from multus.api.network import Attachment, Delegate, Element
    from multus.engine.invoke.call import Call
    from multus.engine.invoke.carrier import Carrier
    from multus.engine.serving import Serving
    from multus.state.change import Change
    from multus.state.record import Record
    from multus.state.transaction import Transaction


def attach(
    change: Change, serving: Serving, element: Element, asked: Mapping[str, Any]
) -> Attachment:
    """Attach the network of *element* beside those that the container has."""
    change.require_free(element.interface)
    request = serving.call.request
    call = serving.call.asked_by(request_for(change.record, request))
    given = (call.installed, call.request, call.conf, call.session)
    with serving.stage("resolve"):
        taken = devices_of(change.record)
        planned = plan([one_more(element, asked, *given, taken=taken)], call)
    prepare(planned, call)
    with serving.stage("invoke"):
        return change.attach(planned[0], serving.attached)


def detach(transaction: Transaction, serving: Serving, element: Element) -> list[CNIError]:
    """Detach the network on *element*'s interface; returns what went wrong."""
    try:
        change = transaction.change()
    except UnknownContainer:
        return _detach_unrecorded(serving.call, element)
    index = change.find(element.interface)
    if index is None:
        return _detach_unrecorded(serving.call, element)
    delegate = change.record.planned[index].delegate
    if delegate.primary:
        raise BadEnvironment(
            f"{delegate} is the primary of {serving.call.request}: it goes with the container"
        )
    return change.detach(index)


def _detach_unrecorded(call: Carrier, element: Element) -> list[CNIError]:
    """Carry out DEL of what no record names: the Go Multus may have attached it."""
    planned = plan([delegate_of(element, call)], call)
    return [error for each in call.detach([(0, planned[0])], {}) for error in each.errors]


def delegate_of(element: Element, call: Call) -> Delegate:
    """The delegate of *element*'s configuration alone: what was requested does not matter."""
    config = element.config or {}
    delegate = delegate_from(config, call.conf, element.origin, provenance=element.provenance)
    return evolve(delegate, primary=False, ifname=element.interface)


def devices_of(record: Record) -> frozenset[str]:
    """The devices of the networks that the container of *record* has."""
    return frozenset(record.planned[index].delegate.device for index in record.left())


def part_of(record: Record, ifname: str) -> Record:
    """*record* with the one attachment on *ifname*; raises ``UnknownContainer`` without it."""
    for index in record.standing():
        if record.planned[index].delegate.ifname == ifname:
            planned, done = record.planned[index], record.done[index]
            return evolve(record, planned={index: planned}, expected=1, done={index: done})
    raise UnknownContainer(f"{record.request} has no network on {ifname!r}", fix="attach it first")
