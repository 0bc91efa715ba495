"""IP address management for in-process invokers.

An invoker asks for the IPAM of its invocation, and calls it in its own ADD and DEL::

    pool = ipam.for_plugin(invocation)      # None when the configuration has no ipam.type
    result = pool.add()                     # a Result: ips, routes and dns, no interfaces
    undo.callback(pool.delete)              # from here on a failure has to give them back
    ...
    pool.delete()                           # DEL: what is not held is no error
    pool.check()                            # CHECK: raises CheckFailed
    pool.gc()                               # GC: frees what no valid attachment holds
    pool.status()                           # STATUS: raises when the configuration is wrong

``host-local`` and ``static`` are served in-process (``multus.ipam.hostlocal``,
``multus.ipam.static``).  Every other type is run as a binary from ``binDir`` and ``CNI_PATH``, and
so are these two when their ``ipam`` object holds a key that is not known here; ``pool.name`` is
then ``exec`` and ``pool.reason`` says which key.

Addresses in results are text, in the form that the kernel and Go print them.  Errors are classes of
``multus.errors``: ``InvalidConfig``, ``AddressesExhausted``, ``CheckFailed``, ``IOFailure``, and
whatever the binary answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.ipam.base import Ipam, reader_of

if TYPE_CHECKING:
    from multus.model.network import Invocation

__all__ = ["Ipam", "for_plugin"]


def for_plugin(invocation: Invocation) -> Ipam | None:
    """The IPAM that the ``ipam`` object of the invocation's configuration asks for.

    None when there is none, or it has no ``type``: the plugin then hands out no address.  Raises
    ``InvalidConfig`` when ``ipam`` is no object or ``type`` no string.
    """
    # Imported here, so that a call loads the one kind that it needs.
    reader = reader_of(invocation)
    kind = reader.text("type")
    if not kind:
        return None
    reason = ""
    if kind == "host-local":
        from multus.ipam import hostlocal

        reason = _foreign(reader.raw.keys() - hostlocal.KEYS)
        if not reason:
            return hostlocal.HostLocal(invocation)
    elif kind == "static":
        from multus.ipam import static

        reason = _foreign(reader.raw.keys() - static.KEYS)
        if not reason:
            return static.Static(invocation)
    from multus.ipam.delegated import Delegated

    if reason:
        invocation.log.verbose(f"{reader.where}: {kind} is run as a binary", reason=reason)
    return Delegated(invocation, kind, reason)


def _foreign(unknown: set[str]) -> str:
    return f"key {min(unknown)!r} of 'ipam'" if unknown else ""
