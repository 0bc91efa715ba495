"""Resolve: which networks the container gets, and the configuration of each.

Sources select networks, each selection with a role.  The rules are:

* only DEFAULT: the container gets the defaults;
* INSTEAD: it gets the pod's networks alone, and their first is the primary.  With
  ``always_use_default`` the defaults come before them, and the primary is a default;
* ADDED: it gets the defaults, then the pod's.  Without a default, the pod's first is the primary;
* EXCHANGED: the pod's network takes the place of the primary default;
* LAST: whatever the others are, these come after them.  They alone attach nothing;
* INSTEAD together with ADDED or EXCHANGED is refused: they contradict each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.delegates import delegate_from, is_primary
from multus.api.errors import InvalidConfig, MissingPlugin, NoSuchNetwork
from multus.api.network import Role
from multus.engine import defaultroute, devices
from multus.engine.permit import require_permitted
from multus.registry.known import FIRST_SOURCE

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Element, Plugin, Selection
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.hooks import Hooks
    from multus.registry.loading import Installed


class Resolved(NamedTuple):
    """The delegates in the order in which they were requested, and how to name their interfaces.

    ``default_route`` says which of them has the default route: "primary" or "last".
    """

    delegates: tuple[Delegate, ...]
    naming: str
    default_route: str = defaultroute.LAST


class Requested(NamedTuple):
    """A network that the container is to get.

    ``default`` says that the node offers it, ``chosen_primary`` that it is the primary whatever
    configurations say by ``masterplugin``, ``may_be_primary`` that its own ``masterplugin`` counts,
    ``last`` that it is of ``Role.LAST``.
    """

    element: Element
    default: bool = False
    chosen_primary: bool = False
    may_be_primary: bool = True
    last: bool = False


def resolve(installed: Installed, request: Request, conf: Conf, session: Session) -> Resolved:
    """Ask the sources what the container gets, and resolve each to a delegate."""
    selections = installed.hooks.select(request, conf, session)
    for element in _elements(selections):
        for remark in element.remarks:
            session.log.verbose(f"{element.origin}: {remark}")
    networks = combine(selections, conf)
    if not networks and request.command == "STATUS" and _lets_choose(installed, conf):
        return Resolved((), conf.naming)  # the node has no defaults, and containers choose
    if not networks:
        raise _nothing_selected(installed, request, conf)
    chained = _chains(networks, installed, request, conf, session)
    marked = _with_primary(chained, networks)
    policy = default_route(selections, conf)
    settled = defaultroute.with_policy(marked, policy)
    hooks = installed.hooks
    return Resolved(
        delegates=tuple(_requested(each, hooks, request, conf, session) for each in settled),
        naming=conf.naming or naming_of(selections),
        default_route=policy,
    )


def one_more(
    element: Element,
    asked: Mapping[str, Any],
    installed: Installed,
    request: Request,
    conf: Conf,
    session: Session,
    *,
    taken: Collection[str] = (),
    ifname: str = "",
    policy: str = "",
) -> Delegate:
    """The delegate of a network that a running container gets, on *ifname* or as *element* says.

    *asked* is what is requested of it, by capability.  *taken* are the devices of the container's
    other networks, *policy* says which network has the default route ("": as *conf* says).
    """
    given = (installed, request, conf, session)
    (found,) = _chains([Requested(element)], *given, taken, running=True)
    if (policy or conf.default_route) == defaultroute.PRIMARY and defaultroute.may_bring(found):
        found = defaultroute.yielding(found)
    name = ifname or element.interface
    delegate = evolve(found, primary=False, ifname=name, runtime_config=asked)
    return _requested(delegate, installed.hooks, request, conf, session)


def _chains(
    networks: Sequence[Requested],
    installed: Installed,
    request: Request,
    conf: Conf,
    session: Session,
    taken: Collection[str] = (),
    *,
    running: bool = False,
) -> list[Delegate]:
    """The delegates with their devices, *taken* ones left out, and whole chains."""
    delegates = [resolve_one(each, installed, request, conf, session) for each in networks]
    hooks = installed.hooks
    origins = [each.element.origin for each in networks]
    asked = (hooks, request, conf, session)
    delegates = devices.with_devices(delegates, origins, *asked, taken, needed=running)
    return [_chained(each, hooks.chain(each, request, conf, session)) for each in delegates]


def _requested(
    delegate: Delegate, hooks: Hooks, request: Request, conf: Conf, session: Session
) -> Delegate:
    asked = hooks.runtime_config(delegate, request, conf, session)
    given = {**devices.runtime_config(delegate), **asked}
    return _with_requests(delegate, given, request, conf)


def combine(selections: Sequence[Selection], conf: Conf) -> list[Requested]:
    """Apply the rules of the roles; raises ``InvalidConfig`` for selections that contradict."""
    by_role = {role: [each for each in selections if each.role is role] for role in Role}
    networks = _networks(by_role, conf)
    last = [
        Requested(element, default=True, may_be_primary=False, last=True)
        for element in _elements(by_role[Role.LAST])
    ]
    return networks + last if networks else []


def _networks(by_role: Mapping[Role, Sequence[Selection]], conf: Conf) -> list[Requested]:
    """The pod's networks and the node's defaults, without what comes after them."""
    instead, exchanged = by_role[Role.INSTEAD], by_role[Role.EXCHANGED]
    added = by_role[Role.ADDED]
    defaults = [Requested(element, default=True) for element in _elements(by_role[Role.DEFAULT])]
    _refuse_contradiction(instead, [*added, *exchanged])
    _refuse_contradiction(exchanged[:1], exchanged[1:])
    if instead:
        _refuse_contradiction(instead[:1], instead[1:])
        keep = defaults if conf.always_use_default else []
        asked = [
            Requested(element, chosen_primary=not keep and index == 0, may_be_primary=False)
            for index, element in enumerate(_elements(instead))
        ]
        return keep + asked
    if exchanged:
        swapped = [
            Requested(element, default=True, chosen_primary=True)
            for element in _elements(exchanged)
        ]
        others = [each for each in defaults if each is not _first_primary(defaults)]
        defaults = swapped + [each._replace(may_be_primary=False) for each in others]
    asked = [Requested(element, may_be_primary=False) for element in _elements(added)]
    return defaults + asked


def _first_primary(defaults: Sequence[Requested]) -> Requested | None:
    """The default that is the primary, as far as configurations given in place say it."""
    marked = (
        each for each in defaults if is_primary(each.element.config or {}, each.element.origin)
    )
    return next(marked, defaults[0] if defaults else None)


def _elements(selections: Sequence[Selection]) -> list[Element]:
    return [element for selection in selections for element in selection.elements]


def _refuse_contradiction(one: Sequence[Selection], other: Sequence[Selection]) -> None:
    if one and other:
        raise InvalidConfig(
            f"{one[0].origin} and {other[0].origin} both choose this container's networks, and"
            " they exclude each other",
            fix="remove one of the two",
        )


def default_route(selections: Sequence[Selection], conf: Conf) -> str:
    """Which network has the default route, unless the pod itself says so."""
    usual = defaultroute.PRIMARY if naming_of(selections) == "seed" else defaultroute.LAST
    return conf.default_route or usual


def naming_of(selections: Sequence[Selection]) -> str:
    """The convention for the names of the *selections*' interfaces, see ``multus.api.ordering``."""
    # When the pod selects networks, the defaults do not decide how interfaces are named.
    selections = [each for each in selections if each.role is not Role.LAST]
    asked = [each for each in selections if each.role is not Role.DEFAULT] or selections
    return "seed" if all(each.naming == "seed" for each in asked) else "npwg"


def _nothing_selected(installed: Installed, request: Request, conf: Conf) -> InvalidConfig:
    broken = "; ".join(map(str, installed.broken))
    if not installed.hooks.implementations("multus_select") and not installed.not_loaded:
        return InvalidConfig(
            f"no network source is installed for {request}",
            broken,
            fix=f"install {FIRST_SOURCE} or another one",
        )
    if request.pod and _lets_choose(installed, conf):
        return InvalidConfig(
            f"pod {request.pod} asks for no network and configuration {conf.name!r} offers no"
            " default",
            broken,
            fix="annotate the pod, or add 'delegates' or 'clusterNetwork'",
        )
    return InvalidConfig(
        f"delegates or kubeconfig option is must, refer README.md: no network is selected for"
        f" {request}",
        broken,
        where=conf.reader.where,
        fix="add 'delegates', 'clusterNetwork' or 'kubeconfig'",
    )


def _lets_choose(installed: Installed, conf: Conf) -> bool:
    """Whether the configuration has a key by which a loaded plugin selects networks.

    When nothing is selected nevertheless, the choice is the containers'.
    """
    keys = installed.hooks.configuration_keys()
    return any(key.selects and conf.raw.get(key.name) for key in keys)


def resolve_one(
    requested: Requested, installed: Installed, request: Request, conf: Conf, session: Session
) -> Delegate:
    """The delegate of one requested network; raises ``InvalidConfig`` when no source knows it."""
    element = requested.element
    delegate = installed.hooks.resolve(element, request, conf, session)
    if delegate is None and element.config is not None:
        delegate = delegate_from(
            element.config, conf, element.origin, provenance=element.provenance
        )
    if delegate is None:
        raise NoSuchNetwork(
            f"network {str(element)!r} is not found: no installed source knows it",
            "; ".join(map(str, installed.broken)),
            where=element.origin,
            fix="correct the name, or create it",
        )
    # A configuration that was looked up does not stand where it was asked for.
    asked = str(element.origin) if element.config is None else element.origin
    require_permitted(delegate, asked)
    return evolve(
        delegate,
        source=element.source,
        element=str(element),
        default=requested.default,
        last=requested.last,
        requested_ifname=element.interface,
        options=element.options,
    )


def _chained(delegate: Delegate, steps: Sequence[Plugin]) -> Delegate:
    return evolve(delegate, plugins=(*delegate.plugins, *steps)) if steps else delegate


def _with_primary(delegates: Sequence[Delegate], networks: Sequence[Requested]) -> list[Delegate]:
    marks = [
        index
        for index, (delegate, each) in enumerate(zip(delegates, networks, strict=True))
        if delegate.primary and each.may_be_primary
    ]
    if len(marks) > 1:
        names = " and ".join(str(delegates[index]) for index in marks[:2])
        raise InvalidConfig(
            f"only one delegate can have 'masterplugin': {names} both do", fix="remove it from one"
        )
    chosen = next(
        (index for index, each in enumerate(networks) if each.chosen_primary),
        marks[0] if marks else 0,
    )
    return [
        each if each.primary == (index == chosen) else evolve(each, primary=index == chosen)
        for index, each in enumerate(delegates)
    ]


def _with_requests(
    delegate: Delegate, contributed: Mapping[str, Any], request: Request, conf: Conf
) -> Delegate:
    """*delegate* with what is requested of it: for ``runtimeConfig``, and for ``CNI_ARGS``."""
    asked = {**delegate.runtime_config, **contributed}
    args: dict[str, str] = {}
    if asked:
        # Imported here: most networks are requested without anything else.
        from multus.engine import requests

        args = requests.arguments(asked)
        delegate = evolve(delegate, runtime_config=asked)
        if conf.unserved_requests == "refuse":
            requests.require_possible(delegate)
    if (args or request.args) and "IgnoreUnknown" not in request.args:
        # No plugin knows all of these arguments.
        args["IgnoreUnknown"] = "true"
    return evolve(delegate, args=args) if args else delegate


def missing_plugin(what: str, install: str, installed: Installed) -> MissingPlugin:
    """The error when no loaded plugin does something: what to install, reinstall or unblock."""
    broken = next((each for each in installed.broken if each.entry.distribution == install), None)
    if broken is not None:
        return MissingPlugin(f"no loaded plugin {what}: {broken}", fix=f"reinstall {install}")
    if any(each.distribution == install for each in installed.blocked):
        return MissingPlugin(
            f"no loaded plugin {what}: {install} is installed, and 'blockedPlugins' names it",
            fix="remove it from there",
        )
    return MissingPlugin(
        f"no installed plugin {what}",
        "; ".join(map(str, installed.broken)),
        fix=f"install {install}",
    )
