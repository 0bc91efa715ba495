"""Upkeep: CHECK, STATUS and GC of the plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.delegates import handed_on
from multus.api.errors import CNIError
from multus.engine.invoke.calling import carry_out, naming_delegate
from multus.engine.invoke.choice import choose, permitted
from multus.engine.invoke.plan import invoker_of
from multus.engine.invoke.stranger import answers_the_same
from multus.state.verify import sees

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Delegate, Invocation
    from multus.engine.invoke.call import Call
    from multus.state.record import Record


def check(record: Record, call: Call) -> list[CNIError]:
    """Carry out CHECK of every attachment of *record*, with its own result as ``prevResult``.

    Returns what is wrong.  An error that says nothing about the container is only logged, where the
    kernel can be compared with what the plugin made (``multus.state.verify``): recreating the pod
    would not mend it.
    """
    errors = []
    for index in record.standing():
        planned, attachment = record.planned[index], record.done[index]
        delegate = planned.delegate
        if delegate.disable_check:
            continue
        # The first plugin of a chain makes the interface; what the others change is not compared.
        compared = sees(attachment, record.request.netns)
        for place, (step, version) in enumerate(
            zip(planned.steps, attachment.versions, strict=True)
        ):
            try:
                invoker = invoker_of(step, delegate, call)
                invocation = call.invocation("CHECK", delegate, step.plugin, step.config)
                invocation = evolve(invocation.at(version), prev_result=attachment.result)
                own = record.request.ifname
                _ask(invoker, invocation, own, compared=compared and place == 0)
            except CNIError as error:
                errors.append(naming_delegate(error, delegate, step.plugin))
    return errors


def _ask(invoker: Invoker, invocation: Invocation, own: str, *, compared: bool) -> None:
    """CHECK of one plugin; raises an error that is about the container, or a defect of the invoker.

    *own* is the container's interface; *compared* says that the kernel is compared with what the
    plugin made.
    """
    said: list[CNIError] = []
    verb: Callable[[Invocation], object] = invoker.check

    def check(asked: Invocation) -> object:
        try:
            return verb(asked)  # an answer, where none is due, is the caller's to refuse
        except CNIError as error:
            said.append(error)
            raise

    try:
        carry_out(invoker, check, invocation)
    except CNIError as error:
        if said and _succeeds_elsewhere(invoker, invocation, own):
            return
        if not (said and compared and answers_the_same(invoker, invocation, error)):
            raise
        invocation.log.error(
            f"{invocation}: the plugin's error is the same for a container that does not exist, so"
            " the kernel alone is compared with what ADD reported",
            error=error,
        )


def _succeeds_elsewhere(invoker: Invoker, invocation: Invocation, own: str) -> bool:
    """Whether the node's own chain, which attached nothing, is right with the *own* interface.

    It has a name for an interface that never existed, and plugins look for it.  Any other network
    has to be right with the interface that it was asked to make, whatever it reported.
    """
    result = invocation.prev_result
    if not invocation.delegate.last or result is None or result.interfaces or result.ips:
        return False
    there = evolve(invocation, delegate=evolve(invocation.delegate, ifname=own))
    try:
        carry_out(invoker, invoker.check, there)
    except CNIError:
        return False
    invocation.log.verbose(
        f"{invocation}: the node's own chain made no interface {invocation.ifname}, and its CHECK"
        f" succeeds with the container's {own}"
    )
    return True


def status(delegates: Sequence[Delegate], call: Call) -> None:
    """Ask every delegate's plugins for their STATUS; raises the first error unchanged.

    A plugin that does not know the verb counts as ready (CNI 1.1: STATUS came with 1.1.0).
    """
    for delegate in delegates:
        for plugin in delegate.plugins:
            invoker = choose(call.installed, plugin, delegate, call.conf).invoker
            kept = permitted(plugin, delegate, invoker, call.log)
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
                kept = permitted(plugin, delegate, invoker, call.log)
                config = handed_on(delegate, kept, call.conf)
                invocation = call.invocation("GC", delegate, kept, config)
                carry_out(invoker, invoker.gc, evolve(invocation, valid_attachments=valid))
            except CNIError as error:
                errors.append(naming_delegate(error, delegate, plugin))
    return errors
