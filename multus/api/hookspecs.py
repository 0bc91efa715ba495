"""The hooks: what a plugin can do, in the order of a request's life.

This module is the contract for plugin authors.  A plugin is a distribution with an entry point in
the group ``multus`` that names a module; the functions in it that carry a hook's name and the
``multus.hookimpl`` mark are called.  A hook may take fewer arguments than its specification.

A hook returns something, it changes nothing.  The values that it is given, configurations and
environments in them included, are read-only: changing one raises ``TypeError``.  ``session`` is
what it may use (``multus.api.session``): Kubernetes, the log, the time that is left, a memory for
this request.

Three kinds of hook:

* *collect*: every plugin is asked, the answers that are not None are gathered;
* *first result*: plugins are asked until one does not return None;
* *observer*: every plugin is told; what it raises is logged and goes no further.

Plugins are asked in the order of their entry points' names.  One that has to come before the others
says ``@hookimpl(tryfirst=True)``, one that takes what is left ``@hookimpl(trylast=True)``.  No hook
may be a wrapper.

Except in observers, an error of ``multus.api.errors`` fails the request with its code and message.
Any other exception, ``SystemExit`` and ``KeyboardInterrupt`` included, and an answer of another
type than the hook's, fails it with code 999 and the plugin's name; the traceback is in the log.
The verbs of an invoker are treated alike: ``add`` returns a ``Result``, ``delete`` a list, and the
others nothing.

Descriptor 1 belongs to the answer: what a plugin or its child prints there goes to standard error.

The log names a plugin that takes more than a second for one hook or verb in a request.  What it
spends in ``multus.api.progress.step(…, waits=True)`` does not count.

No two plugins have one name, and no two own one configuration key: an ADD that needs them is
refused.  ``multus plugins`` warns of hooks without their mark and of other probable mistakes.

Under the daemon, one of several worker processes carries a call out:

* A hook may take ``stuckSeconds`` of the daemon's settings, 10 unless the node says otherwise, and
  so may a verb of an invoker.  What takes longer is interrupted, which is an error of code 11, in
  an observer a line in the log; what cannot be interrupted is killed with its worker.
* A hook that waits for something outside the process says for what, and for how long at most:
  ``with multus.api.progress.step("the switch", 20.0, waits=True):``.  These seconds do not count
  for the hook.  It waits for ``session.remaining(…)`` seconds at most.
* A module is imported once, and workers are forked from what it made: its import may not start a
  thread, nor open a connection or a file that it keeps.
* What a module keeps later is one worker's, and the next call may be in another one.  So a cache
  may save time, and nothing more; what has to last belongs into a file or an API object.
* A worker is replaced after a call that left a thread, a child process, many descriptors or much
  memory, or another namespace, directory, umask, environment, standard stream or signal handler.
* A worker may allocate ``workerMemory``, 128 MiB unless the node says otherwise; beyond it there is
  ``MemoryError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange
    from multus.api.conf import Conf
    from multus.api.errors import CNIError
    from multus.api.invoker import Declined, Invoker
    from multus.api.ipam import Ipam
    from multus.api.keys import Key
    from multus.api.kubernetes._interface import ApiUse
    from multus.api.network import (
        Attachment,
        Delegate,
        Element,
        Invocation,
        Outcome,
        Plugin,
        Selection,
    )
    from multus.api.problem import Problem
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.api.session import Session

#: The number of this contract, raised when a plugin that was written for it would do something else
#: under the new one (``docs/stability.md``).  A plugin module may say in its own ``HOOK_API`` which
#: one it was written for; one that says another number is reported and not loaded.
HOOK_API = 1

hookspec = pluggy.HookspecMarker("multus")

#: Marks a function of a plugin module as the implementation of the hook that it is named after.
hookimpl = pluggy.HookimplMarker("multus")

# --- Configuration -------------------------------------------------------------------------------


@hookspec
def multus_keys() -> Sequence[Key] | None:
    """Name the configuration keys that this plugin reads.

    Kind: collect.
    Called: before anything else for ADD and STATUS, by ``multus validate``, and for the
        documentation.
    Returns: keys, or None.  The engine refuses a value of another type, or outside of a key's
        limits, with code 7 and the key's path.  The plugin reads the value with ``Key.read``, which
        knows the default.  The distribution also lists the names of those of Multus' own
        configuration as entry points of the group ``multus.keys`` (``inventory = my_module``), or
        of ``multus.shared_keys`` when other plugins read them too: an ADD whose configuration has
        one of them is refused while the plugin cannot be loaded, or while another plugin owns it
        as well.  A plugin that has nothing to do without certain keys lists those in the group
        ``multus.only_with``: it is asked for an ADD or a STATUS only when the configuration has
        one of them, and a process for one call does not import it otherwise.
    Raises: nothing.

    Example::

        from multus import hookimpl
        from multus.api.keys import PATH, Key

        @hookimpl
        def multus_keys():
            return [Key("inventory", PATH, "Where the networks are listed.", "/etc/inventory")]
    """


@hookspec
def multus_validate(conf: Conf) -> Sequence[Problem] | None:
    """Say what is wrong with the configuration keys that this plugin owns, beyond their types.

    Kind: collect.
    Called: before anything else for ADD and STATUS, and by ``multus validate``; never for DEL,
        CHECK and GC, which must work with a configuration that went bad.  A key may be of another
        type than ``multus_keys`` says: all that is wrong is told at once.
    Returns: problems, or None, each with the key's path, a reason that continues a sentence which
        begins with the key, and what to do.  The first fails the request with code 7, the others
        are in its details; ``multus validate`` shows them all.  One that is a warning
        (``multus.api.problem.remark``) is logged, and the request goes on.
    Raises: nothing, for what can be said as a problem.

    Example::

        from multus import hookimpl
        from multus.api.problem import Problem

        @hookimpl
        def multus_validate(conf):
            if conf.raw.get("inventory") == "/dev/null":
                return [Problem("inventory", "is '/dev/null'", "name the file with the networks")]
    """


@hookspec
def multus_kubernetes() -> Sequence[ApiUse] | None:
    """Name what this plugin reads and writes at the Kubernetes API server.

    Kind: collect.
    Called: when a daemon starts, and by ``multus doctor``, never by a request.
    Returns: a value for each verb and kind of object, or None.  ``multus doctor`` asks the API
        server whether the account may do it.  With ``cached``, the daemon keeps the objects of this
        kind in memory, those of all namespaces, and requests that read one need not ask the server.
    Raises: nothing.

    Example::

        from multus import hookimpl
        from multus.api.kubernetes import ApiUse, Resource

        SUBNETS = Resource("example.com", "v1", "subnets", "subnet")

        @hookimpl
        def multus_kubernetes():
            consequence = "pods that choose a subnet are refused"
            return [ApiUse("get", SUBNETS, consequence, cached=("spec",))]
    """


# --- Which networks ------------------------------------------------------------------------------


@hookspec
def multus_select(
    request: Request, conf: Conf, session: Session
) -> Selection | Sequence[Selection] | None:
    """Say which networks this container gets, as far as this source knows.

    Kind: collect.
    Called: once for an ADD or STATUS, and for ``multus explain``: it must have no side effects.
        What an ADD waits for (a file that another program writes, a device) is waited for only when
        ``request.dry_run`` is false: people who ask what an ADD would do get an answer at once.
        Report what is missing from ``multus_health``.
        For STATUS the request has no container: offer the node's defaults only.  Also for a DEL
        that finds no record and for GC: then answer from what is on this node, never from an API.
    Returns: a ``Selection`` (its role says what it means for the others), a list of them when there
        are several roles, or None when this source has nothing to say, for instance because the pod
        has no such annotation.  An element that holds a name and no configuration is resolved by
        ``multus_resolve``, this plugin's or another's.  A name that the owner of the node wrote has
        ``provenance=Provenance.NODE``: the conf-file source then finds it in ``confDir``.  What is
        odd and need not fail the container is in the element's ``remarks``.
    Raises: ``TryAgainLater`` when it cannot answer, since no container may come up with fewer
        networks than it asked for; ``NotAvailable`` for a STATUS when a pod's choice could not be
        read; ``InvalidConfig`` for an annotation that is wrong.

    Example::

        from multus import hookimpl
        from multus.api.network import Element, Provenance, Role, Selection

        @hookimpl
        def multus_select(request, conf):
            names = conf.reader.texts("extraNetworks")
            if not names:
                return None
            origin = "key 'extraNetworks'"
            node = Provenance.NODE
            elements = tuple(Element(name, origin, provenance=node) for name in names)
            return Selection(Role.DEFAULT, elements, origin)
    """


@hookspec(firstresult=True)
def multus_resolve(
    element: Element, request: Request, conf: Conf, session: Session
) -> Delegate | None:
    """Turn a selection element into a delegate: find the configuration that it names.

    Kind: first result.
    Called: once for each element, in order; no side effects.  ``element.source`` is the plugin that
        selected it, and any plugin may resolve it, so that a name in the configuration may be an
        API object or a file.
    Returns: a ``Delegate`` (see ``multus.api.delegates.delegate_from``), or None for "not mine, or
        not found here".  An element that holds its configuration is resolved already; one that no
        plugin resolves fails the request with code 7.  A delegate, and an element with a
        configuration, says who wrote it: ``provenance=Provenance.NODE`` for the owner of the node,
        a file under /etc for instance.  Without it the configuration is taken for a tenant's, which
        may name less.
    Raises: ``InvalidConfig`` for an object that is found and wrong, ``TryAgainLater`` for one that
        cannot be read.

    Example::

        from multus import hookimpl
        from multus.api.network import Provenance
        from multus.api.delegates import delegate_from

        INVENTORY = {"storage": {"type": "macvlan", "master": "bond1"}}

        @hookimpl
        def multus_resolve(element, request, conf):
            if element.namespace:
                return None  # a name of an API object
            config = INVENTORY.get(element.name)
            where = f"inventory entry {element.name!r}"
            return config and delegate_from(config, conf, where, provenance=Provenance.NODE)
    """


@hookspec
def multus_devices(
    request: Request, conf: Conf, session: Session
) -> Mapping[str, Sequence[str]] | None:
    """Name the devices that were assigned to this container, by resource.

    Kind: collect.
    Called: once for an ADD, and for ``multus explain``, after all delegates are resolved; only when
        one of them has a ``resource``.  No side effects.
    Returns: a mapping from a resource's name to the IDs of its devices, or None.  Networks take the
        devices of their resource in the order of the list, one each.  The lists of several plugins
        are joined in the plugins' order; a device that is listed twice counts once.  To agree with
        other programs that assign devices, list those of one container (or of one claim) sorted,
        and containers in the pod's order.  A network whose resource no plugin lists gets no device.
    Raises: ``TryAgainLater`` when the devices cannot be read: no container may come up without one
        that it was assigned.

    Example::

        from multus import hookimpl

        @hookimpl
        def multus_devices(conf):
            # The cards of this node, which its only container gets.
            cards = conf.reader.texts("cards")
            return {"example.com/card": sorted(cards)} if cards else None
    """


@hookspec
def multus_chain(
    delegate: Delegate, request: Request, conf: Conf, session: Session
) -> Sequence[Plugin] | None:
    """Put further plugins at the end of a delegate's chain: steps of your own, or of CNI.

    Kind: collect.
    Called: once for each delegate after all are resolved, before it is named; no side effects.
    Returns: the plugins to run after the delegate's own, each with a ``type``, or None.  Such a
        step gets the result of the one before it, and what it returns is the attachment's; like any
        other it is written down, checked, and deleted first.  One that no binary carries out needs
        an invoker, usually the same plugin's.
    Raises: ``InvalidConfig`` when what the container asks for contradicts itself.

    Example::

        from multus import hookimpl
        from multus.api.network import Plugin

        @hookimpl
        def multus_chain(delegate, request, conf):
            mtu = conf.reader.integer("everyMtu")
            return [Plugin({"type": "tuning", "mtu": mtu})] if mtu else None
    """


@hookspec
def multus_runtime_config(
    delegate: Delegate, request: Request, conf: Conf, session: Session
) -> Mapping[str, Any] | None:
    """Contribute ``runtimeConfig`` entries to a delegate: device IDs, a MAC, addresses, ports.

    Kind: collect.
    Called: once for each delegate after all are resolved; no side effects.
    Returns: a mapping from capability to value, or None.  Two plugins that contribute different
        values for one capability fail the request.  A plugin of the delegate gets an entry when it
        declares the capability; ``mac`` and ``ips`` are in ``CNI_ARGS`` too, as ``MAC`` and ``IP``.
        After ADD, a MAC or address that is not there, or another entry that no plugin declares, is
        in ``Attachment.unserved``, or an error where ``unservedRequests`` is ``refuse``.
    Raises: ``InvalidConfig`` for a wish that is wrong, ``TryAgainLater`` for one that cannot be
        looked up now.

    Example::

        from multus import hookimpl

        @hookimpl
        def multus_runtime_config(delegate, request, conf):
            mac = delegate.options.get("mac")
            return {"mac": mac} if mac else None
    """


# --- In which order ------------------------------------------------------------------------------


@hookspec(firstresult=True)
def multus_order(
    delegates: Sequence[Delegate], request: Request, conf: Conf, session: Session
) -> Sequence[Delegate] | None:
    """Put delegates into the order of their invocation and give each its interface name.

    Kind: first result.
    Called: once for an ADD and for ``multus explain``; no side effects.
    Returns: the same delegates, each with ``ifname``, exactly one ``primary``; or None to leave it
        to the core, whose own order is: primary first, the others as selected, named by the
        selection's convention.  Any other set of delegates is refused with code 999 and the
        plugin's name.
    Raises: ``InvalidConfig`` when no order can be given.

    Example::

        from multus import hookimpl
        from multus.api.ordering import named, primary_first

        @hookimpl
        def multus_order(delegates, request, conf):
            # Slow cards last; the interfaces are named as NPWG has it.
            by_speed = sorted(delegates, key=lambda each: "sriov" in each.types)
            return named(primary_first(by_speed), "npwg", request.ifname)
    """


# --- Carrying out --------------------------------------------------------------------------------


@hookspec
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to carry out one plugin configuration of a delegate.

    Kind: collect.
    Called: for every plugin of a chain and every verb, until an offer is taken.
    Returns: an ``Invoker``; or ``Declined`` with a reason, for a type that is served in general but
        not with these keys; or None.  The first offer is taken, unless the configuration names an
        invoker; the exec invoker, which takes everything, offers itself last (``trylast=True``).
        An invoker whose ADD makes only what goes with the interface sets ``leaves_nothing``: then a
        DEL does not need the plugin.
        Keys that are for the owner of the node, a file that it writes for instance, stand in its
        ``node_keys``: they do not reach it from a tenant's configuration.
        An invoker that leaves the work to another plugin is a ``multus.api.delegation.Delegating``.
    Raises: nothing, for what can be declined.

    Example::

        from multus import hookimpl
        from multus.api.invoker import Declined, Invoker
        from multus.api.result import Interface, Result

        class TapInvoker(Invoker):
            name = "tap"

            def add(self, invocation):
                return Result(interfaces=(Interface(invocation.ifname),))

            def delete_one(self, invocation):
                pass  # there is nothing to remove

        @hookimpl
        def multus_invoker(plugin, delegate, conf):
            if plugin.type != "tap":
                return None
            unknown = plugin.unknown_keys(frozenset({"owner", "group"}))
            return Declined("tap", f"key {unknown[0]!r}") if unknown else TapInvoker()
    """


@hookspec
def multus_ipam(kind: str, invocation: Invocation) -> Ipam | Declined | None:
    """Offer to assign the addresses of an invocation, for one type of IPAM.

    Kind: collect.
    Called: when an in-process invoker asks for its IPAM, for each verb, until an offer is taken.
        *kind* is ``ipam.type``.  Not for ``host-local`` and ``static`` with keys that the core
        knows, nor for an invoker that starts a binary, which starts its IPAM plugin itself.
    Returns: an ``Ipam`` (``multus.api.ipam``); or ``Declined`` with a reason, for a type that is
        served in general but not with these keys; or None.  The first offer is taken; without one,
        the binary that the type names is run.  `multus.ipam.settings` reads what an ``ipam`` object
        and the runtime ask for.
    Raises: nothing, for what can be declined.  For a DEL it never raises.

    Example::

        from multus import hookimpl
        from multus.api.ipam import Ipam
        from multus.api.result import IP, Result

        class One(Ipam):
            name = "one-address"

            def add(self):
                return Result(ips=(IP("192.0.2.7/32"),))

        @hookimpl
        def multus_ipam(kind, invocation):
            return One() if kind == "one-address" else None
    """


@hookspec
def multus_attached(
    attachment: Attachment, reason: str, request: Request, conf: Conf, session: Session
) -> None:
    """Be told that one delegate's ADD succeeded.

    Kind: observer.
    Called: after the attachment is in the journal, before the next delegate is invoked: be quick.
        *reason* is "add" for the container's own ADD, and "change" for a network more of a running
        one.
    Returns: nothing.
    Raises: what it raises is logged.

    Example::

        import sys

        from multus import hookimpl

        @hookimpl
        def multus_attached(attachment, request, conf):
            print(request.container_id, attachment.delegate.ifname, file=sys.stderr)
    """


@hookspec
def multus_undone(
    delegate: Delegate, error: CNIError | None, request: Request, conf: Conf, session: Session
) -> None:
    """Be told that one delegate was taken down because the request's ADD failed.

    Kind: observer.
    Called: once for every delegate that was begun, the last first.  *error* is why undoing it
        failed too, or None when it is gone.
    Returns: nothing.
    Raises: what it raises is logged.

    Example::

        import sys

        from multus import hookimpl

        @hookimpl
        def multus_undone(delegate, error, request, conf):
            print(f"undid {delegate}: {error or 'gone'}", file=sys.stderr)
    """


@hookspec
def multus_detached(
    delegate: Delegate,
    error: CNIError | None,
    reason: str,
    request: Request,
    conf: Conf,
    session: Session,
) -> None:
    """Be told that one delegate's DEL was carried out.

    Kind: observer.
    Called: once for every delegate, the last first.  *error* is why it failed (its record is kept),
        or None when it is gone.  *reason* is "delete" for the runtime's DEL and for GC, and
        "change" for a network less of a container that goes on running.
    Returns: nothing.
    Raises: what it raises is logged.

    Example::

        import sys

        from multus import hookimpl

        @hookimpl
        def multus_detached(delegate, error, request, conf):
            print(f"{delegate}: {error or 'gone'}", file=sys.stderr)
    """


# --- Answering -----------------------------------------------------------------------------------


@hookspec(firstresult=True)
def multus_merge(
    attachments: Sequence[Attachment], request: Request, conf: Conf, session: Session
) -> Result | None:
    """Make one result out of the attachments', for the runtime.

    Kind: first result.
    Called: once when every delegate's ADD succeeded.  *attachments* is in the order of invocation;
        exactly one delegate is the primary.
    Returns: a ``Result``, or None.  A merger that has to be asked for looks at ``conf.merger`` and
        returns None when it is not its name.
    Raises: an error fails the ADD, and every delegate is undone.

    Example::

        from multus import hookimpl

        @hookimpl
        def multus_merge(attachments, request, conf):
            return attachments[0].result if conf.merger == "mine" else None
    """


@hookspec
def multus_finished(outcome: Outcome, request: Request, conf: Conf, session: Session) -> None:
    """Be told how a request ended, before its answer is given.

    Kind: observer.
    Called: for ADD, DEL, CHECK and GC, whether they failed or not, and for a change of a running
        container (``outcome.command``).  The answer waits for it: bound the time that it takes.
    Returns: nothing.
    Raises: what it raises is logged.

    Example::

        import sys

        from multus import hookimpl

        @hookimpl
        def multus_finished(outcome, request, conf):
            print(outcome.command, outcome.error or "ok", file=sys.stderr)
    """


# --- Health --------------------------------------------------------------------------------------


@hookspec
def multus_health(conf: Conf) -> CNIError | None:
    """Say why an ADD could not be served now.

    Kind: collect.
    Called: for STATUS, ``multus doctor``, ``multus explain`` and ``multus validate``: answer from
        what is there now, without waiting.
    Returns: an error with code 50 or 51, or None when all is well.  STATUS answers with the first.
    Raises: the same error may be raised instead.

    Example::

        import os

        from multus import hookimpl
        from multus.api.errors import NotAvailable

        @hookimpl
        def multus_health(conf):
            path = conf.reader.text("inventory")
            if path and not os.path.exists(path):
                return NotAvailable(f"{path} is missing: no network can be looked up")
    """


@hookspec
def multus_allocations(conf: Conf, session: Session) -> Sequence[AddressRange] | None:
    """List the addresses that this plugin has allocated in the cluster.

    Kind: collect.
    Called: by ``multus ipam``, and by the daemon that frees what pods that are gone have left;
        never by a request.
    Returns: ranges with their allocations (``multus.api.allocations``), or None.  Who asks compares
        them with the pods of the API server, and makes the ``release`` of those whose pod is gone.
    Raises: ``TryAgainLater`` when the API server cannot be read.

    Example::

        from multus import hookimpl
        from multus.api.allocations import AddressRange, Allocation
        from multus.api.kubernetes import Edit, Resource

        POOLS = Resource("example.com", "v1", "pools", "pool")

        @hookimpl
        def multus_allocations():
            free = Edit(POOLS.object("kube-system", "blue"), "my_plugin:free", {"id": "c1"})
            held = Allocation("192.0.2.7", "default/web", "net1", "c1", release=(free,))
            return [AddressRange("192.0.2.0/24", "blue", 254, (held,))]
    """


@hookspec
def multus_upkeep(conf: Conf, session: Session, grace: float) -> None:
    """Put in order what this plugin keeps on the node and in the API server.

    Kind: observer.
    Called: in the daemon's API process, every few seconds, for each folder of records and each API
        server that is known; never by a request, and never twice at a time on one node.  *conf* has
        ``cniDir``, and ``kubeconfig`` unless the daemon has an API server of its own, which is that
        of all configurations.  What is in use, or was used in the last *grace* seconds
        (``healGraceSeconds``), stays.
    Returns: nothing.
    Raises: an error is logged, and the next calls are further apart.

    Example::

        import os
        import time

        from multus import hookimpl

        @hookimpl
        def multus_upkeep(conf, grace):
            path = os.path.join(conf.cni_dir, "my-cache")
            if os.path.exists(path) and time.time() - os.stat(path).st_mtime > grace:
                os.unlink(path)
    """
