"""Upkeep: CHECK, STATUS and GC of the plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.delegates import handed_on
from multus.api.errors import CNIError
from multus.engine.invoke.calling import carry_out, naming_delegate
from multus.engine.invoke.plan import choose, invoker_of, permitted

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Delegate, Invocation
    from multus.engine.invoke.call import Call
    from multus.state.record import Record


def check(record: Record, call: Call) -> list[CNIError]:
    """Carry out CHECK of every attachment of *record*, with its own result as ``prevResult``.

    Returns what is wrong.
    """
    errors = []
    for index in record.standing():
        planned, attachment = record.planned[index], record.done[index]
        delegate = planned.delegate
        if delegate.disable_check:
            continue
        for step, version in zip(planned.steps, attachment.versions, strict=True):
            try:
                invoker = invoker_of(step, delegate, call)
                invocation = call.invocation("CHECK", delegate, step.plugin, step.config)
                invocation = evolve(invocation.at(version), prev_result=attachment.result)
                _ask(invoker, invocation, record.request.ifname)
            except CNIError as error:
                errors.append(naming_delegate(error, delegate, step.plugin))
    return errors


def _ask(invoker: Invoker, invocation: Invocation, own: str) -> None:
    """CHECK of one plugin, whose error is about the container.

    A network that attached nothing, like the node's own chain, has a name for an interface that
    never existed, and plugins look for it.  So one that fails is asked once more with *own*, the
    container's interface: an error that is gone then was not about the container.
    """
    try:
        carry_out(invoker, invoker.check, invocation)
    except CNIError:
        result = invocation.prev_result
        if result is None or result.interfaces or result.ips:
            raise
        there = evolve(invocation, delegate=evolve(invocation.delegate, ifname=own))
        if not _succeeds(invoker, there):
            raise


def _succeeds(invoker: Invoker, invocation: Invocation) -> bool:
    try:
        carry_out(invoker, invoker.check, invocation)
    except CNIError:
        return False
    return True


def status(delegates: Sequence[Delegate], call: Call) -> None:
    """Ask every delegate's plugins for their STATUS; raises the first error unchanged.

    A plugin that does not know the verb counts as ready (CNI 1.1: STATUS came with 1.1.0).
    """
    for delegate in delegates:
        for plugin in delegate.plugins:
            invoker = choose(call.installed, plugin, delegate, call.conf).invoker
            kept = permitted(plugin, delegate, invoker, call)
            config = handed_on(delegate, kept, call.conf)
            carry_out(invoker, invoker.status, call.invocation("STATUS", delegate, kept, config))


def collect_garbage(
    networks: Sequence[tuple[Delegate, tuple[Mapping[str, str], ...]]], call: Call
) -> list[CNIError]:
    """Call GC of each network's plugins with its valid attachments; returns what went wrong."""
    errors = []
    for delegate, valid in networks:
        if delegate.disable_gc:
            continue
        for plugin in delegate.plugins:
            try:
                invoker = choose(call.installed, plugin, delegate, call.conf, strict=False).invoker
                kept = permitted(plugin, delegate, invoker, call)
                config = handed_on(delegate, kept, call.conf)
                invocation = call.invocation("GC", delegate, kept, config)
                carry_out(invoker, invoker.gc, evolve(invocation, valid_attachments=valid))
            except CNIError as error:
                errors.append(naming_delegate(error, delegate, plugin))
    return errors
