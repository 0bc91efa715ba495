"""A running container's networks, made what its sources ask for now.

What is attached is the journal's to say, what is asked for the sources'.  The container's primary,
the node's own networks, and what an outside controller attached stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve

from multus.api.errors import (
    BadEnvironment,
    CNIError,
    InvalidConfig,
    StateDamaged,
    UnknownContainer,
)
from multus.api.network import Changes, Refusal
from multus.api.request import Request
from multus.engine import order, resolve
from multus.engine.difference import Asked, Difference, Had, difference
from multus.engine.invoke.plan import plan, prepare
from multus.engine.parse import parse
from multus.state.liveness import Liveness, look
from multus.state.plugins import joined
from multus.state.record import OF_THE_GO_MULTUS

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment, Delegate, Element
    from multus.engine.difference import New
    from multus.engine.invoke.call import Call
    from multus.engine.serving import Serving
    from multus.state.change import Change
    from multus.state.record import Planned, Record


class Wish(NamedTuple):
    """What a running container is to have beside its primary, and how that differs from what it
    has.

    ``refused`` are the networks that it cannot get, for whatever becomes of the others.
    ``default_route`` says which network has the default route.
    """

    elements: tuple[Element, ...]
    difference: Difference
    refused: tuple[Refusal, ...]
    default_route: str


class Ready(NamedTuple):
    """A network that can be attached: what to do, its place in the wish included."""

    new: New
    planned: Planned


class Foreseen(NamedTuple):
    """What a change would do; a delegate that is replaced is among the removed and the added."""

    kept: tuple[Delegate, ...]
    removed: tuple[Delegate, ...]
    added: tuple[Planned, ...]
    refused: tuple[Refusal, ...]


def request_of(record: Record, environ: Mapping[str, str]) -> tuple[Request, Conf]:
    """The request of a change of the container of *record*, and the configuration of its ADD.

    *environ* is what started plugins get beside CNI's own variables.
    """
    then = record.request
    request = Request(
        "ADD",
        container_id=then.container_id,
        netns=then.netns,
        ifname=then.ifname,
        path=then.path,
        args=then.args,
        environ={**environ, **then.environ},
    )
    return request, parse(record.conf, "DEL")


def require_running(record: Record, request: Request) -> None:
    """Raise ``UnknownContainer`` when the container has ended, ``BadEnvironment`` without a pod.

    ``StateDamaged`` is raised when the record does not name all networks.
    """
    if not record.complete:
        raise StateDamaged(
            f"{record.path} does not name all networks ({record.damage}): none is changed",
            fix="delete and add the container",
        )
    if look(request.netns, record.netns_identity) in (Liveness.NOTHING, Liveness.OTHER):
        raise UnknownContainer(
            f"the network namespace of {request} is gone",
            fix="leave its networks to its DEL",
        )
    if request.pod is None:
        raise BadEnvironment(
            f"{request} belongs to no pod, whose annotation could say what it is to have",
            fix="delete and add it again",
        )


def foresee(record: Record, call: Call) -> Foreseen:
    """What a change of the container of *record* would do now; it has no effects."""
    wish = wish_of(record, call)
    ready, refused = _ready(wish, record, call)
    replaced = [each.new.instead_of for each in ready if each.new.instead_of is not None]
    removed = sorted([*wish.difference.gone, *replaced])
    kept = [index for index in record.left() if index not in removed]
    return Foreseen(
        kept=tuple(record.planned[index].delegate for index in kept),
        removed=tuple(record.planned[index].delegate for index in removed),
        added=tuple(each.planned for each in ready),
        refused=(*wish.refused, *refused),
    )


def carry_out(change: Change, serving: Serving) -> Changes:
    """Make the container's networks what its sources ask for; an error of one leaves the others.

    What is wrong with a new network is found before anything is detached, as far as that can be.
    """
    record = change.record
    with serving.stage("resolve"):
        wish = wish_of(record, serving.call)
        ready, refused = _ready(wish, record, serving.call)
    replaced = [each.new.instead_of for each in ready if each.new.instead_of is not None]
    removed: list[Delegate] = []
    added: list[Attachment] = []
    failed = [*wish.refused, *refused]
    with serving.stage("invoke"):
        for index in sorted([*wish.difference.gone, *replaced], reverse=True):
            delegate = record.planned[index].delegate
            errors = change.detach(index)
            if errors:
                failed.append(Refusal(delegate.label, delegate.ifname, joined(errors)))
            else:
                removed.append(delegate)
        for each in ready:
            planned = each.planned
            try:
                change.require_free(planned.delegate.ifname)
                added.append(change.attach(planned))
            except CNIError as error:
                label, ifname = planned.delegate.label, planned.delegate.ifname
                failed.append(Refusal(label, ifname, error))
    return Changes(tuple(removed), tuple(added), tuple(failed))


# --- What is asked for ---------------------------------------------------------------------------


def wish_of(record: Record, call: Call) -> Wish:
    """Ask the sources what the container is to have; raises what they raise."""
    # As a dry run: what an ADD waits for, a file for instance, is there while a container runs.
    asking = evolve(call.request, dry_run=True)
    selections = call.installed.hooks.select(asking, call.conf, call.session)
    had, taken = _had(record, call)
    chosen, elements = _split(resolve.combine(selections, call.conf), record, call)
    names = {} if all(each.requests_known for each in had) else _names(elements, call)
    asked = [
        Asked(str(each), each.interface, each.options, names.get(str(each), ""))
        for each in elements
    ]
    first = 0 if (call.conf.naming or resolve.naming_of(selections)) == "seed" else 1
    found = difference(asked, had, taken, first)
    clashes = [_clash(elements[place], ifname) for place, ifname in found.clashes]
    policy = resolve.default_route(selections, call.conf)
    return Wish(elements, found, (*_other_primary(chosen, record), *clashes), policy)


def _split(
    networks: Sequence[resolve.Requested], record: Record, call: Call
) -> tuple[Element | None, tuple[Element, ...]]:
    """The element that the pod asks for as its primary, and the others that it asks for.

    Whether the node offers a default network is the record's to say: the journal does not keep the
    configuration's own networks twice.
    """
    asked = [each for each in networks if not (each.default or each.last)]
    elements = tuple(each.element for each in asked)
    primary = _primary(record)
    if not elements or primary is None:
        return None, elements
    if primary.source == OF_THE_GO_MULTUS:
        first_is_primary = _names(elements[:1], call).get(str(elements[0])) == primary.name
    elif asked[0].chosen_primary:  # in place of the node's defaults, unless they come first
        first_is_primary = not (call.conf.always_use_default and primary.default)
    else:
        first_is_primary = not primary.default
    return (elements[0], elements[1:]) if first_is_primary else (None, elements)


def _primary(record: Record) -> Delegate | None:
    return next((p.delegate for p in record.planned.values() if p.delegate.primary), None)


def _had(record: Record, call: Call) -> tuple[list[Had], list[str]]:
    """The attachments that a source of today asked for; the interfaces of all others.

    A source that is not loaded now does not say what it asks for: its networks stay.
    """
    hooks = call.installed.hooks
    sources = {each.plugin_name for each in hooks.implementations("multus_select")}
    had: list[Had] = []
    taken: list[str] = []
    for index in record.left():
        each = record.planned[index].delegate
        theirs = each.source == OF_THE_GO_MULTUS
        if each.primary or each.default or each.last or index in record.changing:
            taken.append(each.ifname)
        elif theirs or each.source in sources:
            known = (each.element or each.label, each.ifname, each.requested_ifname, each.options)
            had.append(Had(index, *known, name=each.name, requests_known=not theirs))
        else:
            taken.append(each.ifname)
    return had, taken


def _names(elements: Sequence[Element], call: Call) -> dict[str, str]:
    """The names in the configurations of *elements*, as far as they can be looked up."""
    names = {}
    for element in elements:
        try:
            requested = resolve.Requested(element)
            given = (call.installed, call.request, call.conf, call.session)
            names[str(element)] = resolve.resolve_one(requested, *given).name
        except CNIError as error:
            call.log.verbose(f"{element.origin}: {error}")
    return names


def _other_primary(chosen: Element | None, record: Record) -> list[Refusal]:
    """Why the container does not get the primary that its pod asks for now, if it has another."""
    primary = _primary(record)
    if chosen is None or primary is None or primary.source == OF_THE_GO_MULTUS:
        return []
    if str(chosen) in (primary.element, primary.label):
        return []
    error = InvalidConfig(
        f"it would be the primary, and {primary.ifname!r} of a running pod is not changed",
        where=chosen.origin,
        fix="create the pod anew",
    )
    return [Refusal(str(chosen), primary.ifname, error)]


def _clash(element: Element, ifname: str) -> Refusal:
    error = InvalidConfig(
        f"another network of the pod has interface {ifname!r}",
        where=element.origin,
        fix="ask for another name",
    )
    return Refusal(str(element), ifname, error)


# --- What can be attached ------------------------------------------------------------------------


def _ready(wish: Wish, record: Record, call: Call) -> tuple[list[Ready], list[Refusal]]:
    """The new networks that can be attached, planned, and the others; it has no effects."""
    going = {*wish.difference.gone, *(each.instead_of for each in wish.difference.new)}
    staying = [index for index in record.left() if index not in going]
    taken = [record.planned[index].delegate.device for index in staying]
    ready: list[Ready] = []
    refused: list[Refusal] = []
    for new in wish.difference.new:
        element = wish.elements[new.place]
        try:
            planned = _planned(element, new.ifname, wish.default_route, taken, call)
        except CNIError as error:
            refused.append(Refusal(str(element), new.ifname, error))
            continue
        taken.append(planned.delegate.device)
        ready.append(Ready(new, planned))
    return ready, refused


def _planned(
    element: Element, ifname: str, policy: str, taken: Collection[str], call: Call
) -> Planned:
    given = (call.installed, call.request, call.conf, call.session)
    delegate = resolve.one_more(element, {}, *given, taken=taken, ifname=ifname, policy=policy)
    order.require_usable(delegate)
    planned = plan([delegate], call)
    prepare(planned, call)
    return planned[0]
