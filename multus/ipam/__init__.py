"""IP address management for in-process invokers.

An invoker asks for the IPAM of its invocation, and calls it in its own verbs::

    pool = ipam.for_plugin(invocation)      # None when the configuration has no ipam.type
    pool.prepare()                          # its prepare: raises when a binary is missing
    result = pool.add()                     # a Result: ips, routes and dns, no interfaces
    undo.callback(pool.delete)              # free the addresses when a later step fails
    ...
    pool.delete()                           # DEL: succeeds when no address is held
    pool.check()                            # CHECK: raises CheckFailed
    pool.gc()                               # GC: frees addresses of attachments that are not valid
    pool.status()                           # STATUS: raises when the configuration is wrong

``host-local`` and ``static`` are served by the core, other types by plugins, which offer them in
the hook ``multus_ipam``.  A type that nobody offers is run as a binary from ``binDir`` or
``CNI_PATH``; so are these two when their ``ipam`` object holds a key that is unknown here, or when
a tenant's ``dataDir`` or ``resolvConf`` is outside the places that ``tenantPaths`` allows.
``pool.name`` is then ``exec`` and ``pool.reason`` says why.

Addresses in results are text, in the form that the kernel and Go print.  Errors are classes of
``multus.api.errors``: ``InvalidConfig``, ``AddressesExhausted``, ``CheckFailed``, ``IOFailure``,
``TryAgainLater``, and the errors that a binary prints.

The names below, and the modules, are public; a module or name that begins with an underscore is
not:

``addresses``
    Addresses and networks as numbers, printed as Go prints them.
``dns``
    Reads DNS settings from a configuration or a resolv.conf.
``settings``
    Reads what an ``ipam`` object, a runtime and ``CNI_ARGS`` ask for.
``lacking``
    What an ``ipam`` object needs and the node lacks: a program, a daemon, a free address.
``store``
    The store of one network: a lock, and a file for each address in use.
``upkeep``
    The stores of host-local as a whole: what they hold, and freeing what nobody uses.
``usage``
    How many addresses of a configuration's ranges are in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig
from multus.api.invoker import Declined
from multus.api.ipam import Ipam
from multus.api.reader import Reader
from multus.ipam.settings import read_routes, reader_in, reader_of

if TYPE_CHECKING:
    from typing import Any

    from multus.api.network import Invocation

#: The public modules of this package.
MODULES = ("addresses", "dns", "settings", "lacking", "store", "upkeep", "usage")

__all__ = ["Ipam", "for_plugin", "held", "require_valid"]


def for_plugin(invocation: Invocation) -> Ipam | None:
    """The IPAM that the ``ipam`` object of the invocation's configuration asks for.

    None when ``ipam`` or its ``type`` is missing: the plugin then assigns no address.  Raises
    ``InvalidConfig`` when ``ipam`` is not an object or ``type`` is not a string, except for a DEL.
    """
    try:
        reader = reader_of(invocation)
        kind = reader.text("type")
    except InvalidConfig as error:
        if invocation.verb != "DEL":
            raise
        # ADD refused this configuration, so no address is held.
        invocation.log.verbose("no address is held: 'ipam' is invalid", error=error)
        return None
    return _pool(invocation, reader, kind) if kind else None


def require_valid(config: Mapping[str, Any]) -> None:
    """Raise ``InvalidConfig`` for an ``ipam`` object that ADD always refuses.

    *config* is a plugin's configuration.  A type that is not served in-process is not checked, nor
    is an object with a key that is unknown here: the binary decides.
    """
    reader = reader_in(config)
    kind = reader.text("type")
    if kind == "host-local":
        from multus.ipam import _hostlocal as hostlocal

        if not reader.raw.keys() - hostlocal.KEYS:
            chosen = Reader(config, reader.where).mapping("capabilities").get("ipRanges")
            sets = hostlocal.range_sets(config, reader, needed=not chosen)
            hostlocal.refuse_overlaps(sets, reader.where)
            read_routes(reader)
    elif kind == "static":
        from multus.ipam import _static as static

        if not reader.raw.keys() - static.KEYS:
            static.configured(reader)
            read_routes(reader)


def held(config: Mapping[str, Any], container_id: str, ifname: str) -> list[str]:
    """The addresses that host-local's store has for one interface of a container.

    *config* is a plugin's configuration; of another type of IPAM, nothing is known.  Raises
    ``InvalidConfig`` and ``IOFailure``.
    """
    reader = reader_in(config)
    name = config.get("name")
    if reader.text("type") != "host-local" or not isinstance(name, str):
        return []
    from multus.ipam import _hostlocal as hostlocal
    from multus.ipam.store import Owner, Store

    directory = reader.text("dataDir") or hostlocal.DATA_DIR
    return Store(f"{directory.rstrip('/')}/{name}").of(Owner(container_id, ifname))


def _pool(invocation: Invocation, reader: Reader, kind: str) -> Ipam:
    """The first offer: the core's own, then those of plugins; the binary without one."""
    declined = None
    for offer in _offers(invocation, reader, kind):
        if isinstance(offer, Ipam):
            return offer
        declined = declined or offer
    from multus.ipam._delegated import Delegated

    reason = declined.reason if declined is not None else ""
    if reason:
        invocation.log.verbose(f"{reader.where}: {kind} is run as a binary", reason=reason)
    return Delegated(invocation, kind, reason)


def _offers(invocation: Invocation, reader: Reader, kind: str) -> Iterator[Ipam | Declined]:
    own = _OWN.get(kind)
    if own is not None:
        yield own(invocation, reader)
    if invocation.ipams is not None:
        yield from invocation.ipams(kind, invocation)


# Each imports its module, so that a call loads the one kind that it needs.


def _host_local(invocation: Invocation, reader: Reader) -> Ipam | Declined:
    from multus.ipam import _hostlocal as hostlocal

    reason = _foreign(reader.raw.keys() - hostlocal.KEYS)
    reason = reason or hostlocal.elsewhere(invocation, reader)
    return Declined("host-local", reason) if reason else hostlocal.HostLocal(invocation)


def _static_addresses(invocation: Invocation, reader: Reader) -> Ipam | Declined:
    from multus.ipam import _static as static

    reason = _foreign(reader.raw.keys() - static.KEYS)
    return Declined("static", reason) if reason else static.Static(invocation)


_OWN: Mapping[str, Callable[[Invocation, Reader], Ipam | Declined]] = {
    "host-local": _host_local,
    "static": _static_addresses,
}


def _foreign(unknown: set[str]) -> str:
    return f"key {min(unknown)!r} of 'ipam'" if unknown else ""
