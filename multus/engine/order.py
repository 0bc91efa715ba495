"""Order: the primary first, the others as they were requested, each with its interface's name.

A plugin may give another order (``multus_order``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import InvalidConfig
from multus.api.names import interface_problem
from multus.api.ordering import named, primary_first
from multus.registry.hooks import PluginFailed

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.engine.resolve import Resolved
    from multus.registry.hooks import Hooks


def order(
    hooks: Hooks, resolved: Resolved, request: Request, conf: Conf, session: Session
) -> tuple[Delegate, ...]:
    """The delegates in order of invocation, named.

    Raises ``InvalidConfig`` when two would get one name, ``PluginFailed`` when a plugin's order has
    not the same delegates.
    """
    answer = hooks.order(resolved.delegates, request, conf, session)
    if answer is None:
        ordered = primary_first(resolved.delegates)
        delegates = named(ordered, resolved.naming, request.ifname)
    else:
        plugin, theirs = answer
        delegates = tuple(theirs)
        problem = _difference(delegates, resolved.delegates)
        if problem:
            raise PluginFailed(
                f"plugin {plugin!r}, hook 'multus_order', {problem}",
                fix="report it to the plugin's author",
            )
    _refuse_conflicts(delegates)
    return delegates


def _difference(theirs: Sequence[Delegate], ours: Sequence[Delegate]) -> str:
    """How a plugin's order differs from what it was given; empty when it is one of the same."""

    def identity(delegate: Delegate) -> Delegate:
        return evolve(delegate, ifname="", primary=False)

    left = [identity(each) for each in ours]
    for each in theirs:
        if identity(each) not in left:
            return f"adds {each}"
        left.remove(identity(each))
    if left:
        return f"leaves out {left[0]}"
    if [each.primary for each in theirs].count(True) != 1:
        return "does not mark exactly one primary"
    return ""


def require_usable(delegate: Delegate) -> None:
    """Raise ``InvalidConfig`` when no network can have the interface of *delegate*."""
    problem = interface_problem(delegate.ifname)
    if delegate.ifname == "lo":
        problem = "is the loopback's, which the runtime makes"
    if problem:
        raise InvalidConfig(
            f"interface name {delegate.ifname!r} {problem}",
            where=str(delegate),
            fix="ask for another one",
        )


def _refuse_conflicts(delegates: Sequence[Delegate]) -> None:
    taken: dict[str, Delegate] = {}
    for each in delegates:
        if each.primary and each.requested_ifname not in ("", each.ifname):
            raise InvalidConfig(
                f"{each} is the primary, whose interface is the runtime's {each.ifname!r}, and it"
                f" asks for {each.requested_ifname!r}",
                fix="do not ask for another name",
            )
        require_usable(each)
        other = taken.setdefault(each.ifname, each)
        if other is not each:
            raise InvalidConfig(
                f"{other} and {each} both get interface {each.ifname!r}",
                fix="ask for another name for one of them",
            )
