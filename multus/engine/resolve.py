"""Resolve: who asks for which networks, and what each of them is.

The rules, for the roles of the selections:

* the pod asks for nothing: the defaults;
* INSTEAD: the pod's networks alone, its first the primary; with ``always_use_default`` the defaults
  stay before them, and the default's primary stays the primary;
* ADDED: the defaults, then the pod's; without any default the first is the primary;
* EXCHANGED: the pod's one takes the place of the defaults' primary;
* INSTEAD together with ADDED or EXCHANGED is refused: the two say different things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.delegates import delegate_from, is_primary
from multus.api.errors import InvalidConfig, MissingPlugin
from multus.api.network import Role
from multus.engine.permit import require_permitted
from multus.registry.known import FIRST_SOURCE

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Element, Plugin, Selection
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.discovery import Installed


class Resolved(NamedTuple):
    """The delegates in the order in which they were asked for, and how to name them."""

    delegates: tuple[Delegate, ...]
    naming: str


class _Wish(NamedTuple):
    element: Element
    default: bool = False
    #: The pod's choice of primary wins over a mark in the configuration.
    first_choice: bool = False
    #: A mark in the configuration counts only among the networks that decide the primary.
    may_be_primary: bool = True


def resolve(installed: Installed, request: Request, conf: Conf, session: Session) -> Resolved:
    """Ask the sources what the container gets, and resolve each to a delegate."""
    selections = installed.hooks.select(request, conf, session)
    wishes = combine(selections, conf)
    if not wishes and request.command == "STATUS" and (conf.raw.get("kubeconfig") or session.api):
        return Resolved((), conf.naming)  # the node offers nothing, and pods choose
    if not wishes:
        raise _nothing_selected(installed, request, conf)
    delegates = [resolve_one(wish, installed, request, conf, session) for wish in wishes]
    hooks = installed.hooks
    chained = [_chained(each, hooks.chain(each, request, conf, session)) for each in delegates]
    marked = _with_primary(chained, wishes)
    return Resolved(
        delegates=tuple(
            _with_runtime_config(each, hooks.runtime_config(each, request, conf, session))
            for each in marked
        ),
        naming=conf.naming or _naming(selections),
    )


def combine(selections: Sequence[Selection], conf: Conf) -> list[_Wish]:
    """Apply the rules of the roles; raises ``InvalidConfig`` for what contradicts itself."""
    by_role = {role: [each for each in selections if each.role is role] for role in Role}
    instead, exchanged = by_role[Role.INSTEAD], by_role[Role.EXCHANGED]
    added = by_role[Role.ADDED]
    defaults = [_Wish(element, default=True) for element in _elements(by_role[Role.DEFAULT])]
    _refuse_contradiction(instead, [*added, *exchanged])
    _refuse_contradiction(exchanged[:1], exchanged[1:])
    if instead:
        _refuse_contradiction(instead[:1], instead[1:])
        keep = defaults if conf.always_use_default else []
        asked = [
            _Wish(element, first_choice=not keep and index == 0, may_be_primary=False)
            for index, element in enumerate(_elements(instead))
        ]
        return keep + asked
    if exchanged:
        swapped = [
            _Wish(element, default=True, first_choice=True) for element in _elements(exchanged)
        ]
        others = [each for each in defaults if each is not _first_primary(defaults)]
        defaults = swapped + [each._replace(may_be_primary=False) for each in others]
    asked = [_Wish(element, may_be_primary=False) for element in _elements(added)]
    return defaults + asked


def _first_primary(defaults: Sequence[_Wish]) -> _Wish | None:
    """The default that will be the primary, as far as the configuration itself says it."""
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


def _naming(selections: Sequence[Selection]) -> str:
    # Defaults that a pod's choice replaces or extends do not decide how its networks are named.
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
    if request.pod and conf.raw.get("kubeconfig"):
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


def resolve_one(
    wish: _Wish, installed: Installed, request: Request, conf: Conf, session: Session
) -> Delegate:
    """The delegate of one wish; raises ``InvalidConfig`` when no source knows it."""
    element = wish.element
    delegate = installed.hooks.resolve(element, request, conf, session)
    if delegate is None and element.config is not None:
        delegate = delegate_from(
            element.config, conf, element.origin, provenance=element.provenance
        )
    if delegate is None:
        raise InvalidConfig(
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
        default=wish.default,
        requested_ifname=element.interface,
        options=element.options,
    )


def _chained(delegate: Delegate, steps: Sequence[Plugin]) -> Delegate:
    return evolve(delegate, plugins=(*delegate.plugins, *steps)) if steps else delegate


def _with_primary(delegates: Sequence[Delegate], wishes: Sequence[_Wish]) -> list[Delegate]:
    marks = [
        index
        for index, (delegate, wish) in enumerate(zip(delegates, wishes, strict=True))
        if delegate.primary and wish.may_be_primary
    ]
    if len(marks) > 1:
        names = " and ".join(str(delegates[index]) for index in marks[:2])
        raise InvalidConfig(
            f"only one delegate can have 'masterplugin': {names} both do", fix="remove it from one"
        )
    chosen = next(
        (index for index, wish in enumerate(wishes) if wish.first_choice),
        marks[0] if marks else 0,
    )
    return [
        each if each.primary == (index == chosen) else evolve(each, primary=index == chosen)
        for index, each in enumerate(delegates)
    ]


def _with_runtime_config(delegate: Delegate, contributed: Mapping[str, Any]) -> Delegate:
    asked = {**delegate.runtime_config, **contributed}
    if not asked:
        return delegate
    served = frozenset().union(*(plugin.capabilities for plugin in delegate.plugins))
    missing = sorted(asked.keys() - served)
    if missing:
        # NPWG 1.3: an attachment whose request cannot be served must fail.
        raise InvalidConfig(
            f"{delegate} is asked for {missing[0]!r}, and none of its plugins ({delegate.types})"
            " declares that capability",
            fix=f'add "capabilities": {{"{missing[0]}": true}} to one that serves it, or do not'
            " ask",
        )
    return evolve(delegate, runtime_config=asked)


def missing_plugin(what: str, install: str, installed: Installed) -> MissingPlugin:
    """The error for a function that no loaded plugin has: what to install, reinstall or unblock."""
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
