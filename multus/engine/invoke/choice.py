"""Which invoker carries a plugin out, and which keys of the configuration it may get."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.api import defaultroute
from multus.api.errors import CNIError, InvalidConfig, NotStarted
from multus.api.invoker import Declined, Invoker
from multus.engine.permit import withheld, without, without_info_file
from multus.engine.resolve import missing_plugin

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Plugin
    from multus.log import Log
    from multus.registry.loading import Installed


class Choice(NamedTuple):
    """The invoker for a plugin, and the answers of those that declined before it."""

    invoker: Invoker
    declined: tuple[Declined, ...] = ()


def choose(
    installed: Installed, plugin: Plugin, delegate: Delegate, conf: Conf, *, strict: bool = True
) -> Choice:
    """The invoker for *plugin*: the one that its configuration names, else the first that offers.

    With *strict*, it is an error when the named one does not offer itself.  Without (DEL, CHECK,
    GC) the first that offers takes its place: in-process invokers and binaries share their stores.
    Raises ``InvalidConfig`` and ``MissingPlugin``.
    """
    if plugin.type == defaultroute.TYPE:
        from multus.inprocess.defaultroute import DefaultRoute

        return Choice(DefaultRoute())
    offers: list[Invoker] = []
    declined: list[Declined] = []
    for each in installed.hooks.invokers(plugin, delegate, conf):
        if isinstance(each, Declined):
            declined.append(each)
        elif plugin.invoker in ("", each.name):
            return Choice(each, tuple(declined))
        else:
            offers.append(each)
    if plugin.invoker and strict:
        refused = next((no for no in declined if no.invoker == plugin.invoker), None)
        if refused is not None:
            raise InvalidConfig(
                f"{delegate}: invoker {plugin.invoker!r} cannot serve it: {refused.reason}",
                fix="correct that, or do not ask for this invoker",
            )
        raise missing_plugin(
            f"is the invoker {plugin.invoker!r} that {delegate} asks for",
            f"multus-invoker-{plugin.invoker}",
            installed,
        )
    if not offers:
        raise missing_plugin(
            f"carries out type {plugin.type!r} of {delegate}", "multus-invoker-exec", installed
        )
    return Choice(offers[0], tuple(declined))


def needed_because(
    error: NotStarted, installed: Installed, plugin: Plugin, delegate: Delegate, conf: Conf
) -> CNIError:
    """*error* of a missing binary, with the reasons for which the type is not served in-process."""
    declined = choose(installed, plugin, delegate, conf, strict=False).declined
    reasons = "; ".join(each.reason for each in declined)
    return error.detailed(f"the binary is needed: {reasons}") if reasons else error


def permitted(plugin: Plugin, delegate: Delegate, invoker: Invoker, log: Log) -> Plugin:
    """*plugin* without the keys that its writer may not give to *invoker*.

    The journal gets the same, so that DEL and CHECK look where ADD did.
    """
    plugin = without_info_file(plugin, delegate)
    keys = withheld(plugin, delegate, invoker.node_keys)
    for key in keys:
        log.verbose(
            f"{delegate}: key {key!r} of type {plugin.type!r} is for the owner of the node:"
            f" it is not passed to {invoker.name}"
        )
    return without(plugin, keys)
