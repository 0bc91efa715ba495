"""The host's side: choose a free VF, and restore its previous state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.api.progress import step
from multus.api.reader import Reader
from multus.inprocess.devices import RETURN, RETURN_PAUSE, USERSPACE_DRIVERS
from multus.log import Log, Sink
from multus.netlink import Namespace, NamespaceGone, is_namespace
from multus_invoker_sriov import netdev, vf
from multus_invoker_sriov.claims import Before, Claims, Record
from multus_invoker_sriov.conf import directory
from multus_invoker_sriov.netdev import Place
from multus_invoker_sriov.sysfs import Sysfs, VirtualFunction, bind
from multus_invoker_sriov.vf import VfPort

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus_invoker_sriov.conf import SriovConf

#: How long a command waits for a VF that another command has locked, in seconds.
_PATIENCE = 60.0

#: The levels of the SR-IOV plugin's log, as levels of Multus' log.
_LEVELS = {"warning": "error", "info": "verbose"}


@frozen
class Host:
    """One command's access to the cards: sysfs, the owners of VFs, and the cards' drivers.

    ``patience`` is the longest wait for a VF's lock, in seconds.
    """

    sysfs: Sysfs
    port: VfPort
    claims: Claims
    place: Place
    log: Log
    patience: float

    # --- Choosing ---------------------------------------------------------------------------------

    @contextmanager
    def chosen(self, conf: SriovConf) -> Iterator[VirtualFunction]:
        """A free VF with its lock held; raises ``TryAgainLater`` when there is none."""
        if not conf.device:
            with self._any_of(self.sysfs.virtual_functions(conf.pf), conf.pf) as found:
                yield found
            return
        found = self.sysfs.virtual_function(conf.device)
        with self.claims.locked(found.pci, self.patience):
            holder = self._holder(found)
            if holder:
                raise TryAgainLater(f"pci address {found.pci} is already allocated: {holder}")
            yield found

    @contextmanager
    def _any_of(self, every: list[VirtualFunction], pf: str) -> Iterator[VirtualFunction]:
        # First the VFs that are not locked; then wait for locked ones, which a DEL may return.
        for deadline in (0.0, time.monotonic() + self.patience):
            for found in every:
                with ExitStack() as stack:
                    patience = max(0.0, deadline - time.monotonic())
                    try:
                        stack.enter_context(self.claims.locked(found.pci, patience))
                    except TryAgainLater:
                        continue
                    if self.sysfs.interfaces(found.pci) and not self._holder(found):
                        yield found
                        return
        raise TryAgainLater(
            f"the card of {pf!r} has no free virtual function: all {len(every)} are in use",
            fix="delete a container, or give the card more (sriov_numvfs)",
        )

    def _holder(self, found: VirtualFunction) -> str:
        """The owner of a VF as text, "" for a free one; removes a stale mark."""
        netns = self.claims.marked(found.pci)
        if netns and is_namespace(netns):
            return f"the container in {netns} has it"
        if netns:
            self.log.verbose(f"{found} is taken from a container that is gone", netns=netns)
            for record in self.claims.records():
                if (record.pci, record.netns) != (found.pci, netns):
                    continue
                # Only that record has the VF's previous state.
                if not self.release(record):
                    return f"the kernel has not returned it yet from the container in {netns}"
                self.claims.forget(record.container_id, record.attachment)
            self.claims.unmark(found.pci)
        names = self.sysfs.interfaces(found.pci)
        if names and all(self.place.find(name) is None for name in names):
            return "its interface is not on the host"
        return ""

    def before(self, found: VirtualFunction) -> Before:
        """A VF's current state; raises ``TryAgainLater`` when it has no usable driver."""
        names = self.sysfs.interfaces(found.pci)
        driver = self.sysfs.driver(found.pci)
        if not names and driver not in USERSPACE_DRIVERS:
            raise TryAgainLater(
                f"{found} has neither an interface on the host nor a userspace driver (its driver:"
                f" {driver or 'none'}): wait for the kernel to return it, or bind it to a driver"
            )
        state = vf.require(self.port, self.place.require(found.pf).index, found.index)
        if not names:
            return Before(state, driver)
        link = self.place.require(names[0])
        return Before(state, driver, link.name, link.mac, link.mtu, link.up, link.kind)

    # --- Returning --------------------------------------------------------------------------------

    def give_back(self, record: Record) -> None:
        """Return the VF of a record, unless it has a new owner, and remove the record."""
        with self.claims.locked(record.pci, self.patience):
            if self.claims.load(record.container_id, record.attachment) is None:
                return  # a concurrent DEL has returned it
            self.claims.tidy(record.pci)
            # No mark: nothing was changed yet, or all is restored.  Another mark: a new owner.
            if self.claims.marked(record.pci) == record.netns:
                if not self.release(record, RETURN):
                    self.log.error(
                        f"VF {record.pci} has no interface: only attributes are restored"
                    )
                self.claims.unmark(record.pci)
            self.claims.forget(record.container_id, record.attachment)

    def release(self, record: Record, patience: float = 0.0) -> bool:
        """Restore the VF; it may be in any namespace, or gone with its card.

        False when its interface is not found within *patience* seconds, because the kernel is still
        deleting its namespace; the VF's attributes are restored anyway.
        """
        try:
            found = self.sysfs.virtual_function(record.pci)
        except InvalidConfig as error:
            self.log.error(f"VF {record.pci} is gone and cannot be restored", error=error)
            return True
        # The attributes first: some drivers refuse to change the interface of a VF that is not
        # trusted any more.
        pf = self.place.require(found.pf).index
        now = vf.require(self.port, pf, found.index)
        was = record.before.state
        self.port.apply(vf.restoring(was, now, record.changed, pf, found.index))
        if record.before.driver not in ("", self.sysfs.driver(record.pci)):
            # The driver creates a new interface with its own values.
            bind(self.sysfs, record.pci, record.before.driver)
            return True
        deadline = time.monotonic() + patience
        with step(f"the return of VF {record.pci}", patience + 5.0, waits=True):
            while record.before.name and not self._bring_home(record):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(RETURN_PAUSE)
        return True

    def _bring_home(self, record: Record) -> bool:
        for name in self.sysfs.interfaces(record.pci):
            link = self.place.find(name)
            if link is not None and netdev.may_be(link, record.before):
                # It was never moved, or the kernel returned it with the end of its namespace.
                netdev.restore(self.place, link, record.before)
                return True
        try:
            namespace = Namespace(record.netns)
        except NamespaceGone:
            return False
        with placed(namespace) as pod:
            link = netdev.find_in_container(pod, record.ifname, record.before, record.mac)
            if link is None:
                return False
            # The spare name, when its own is in use: "vf" and the digits of the PCI address.
            spare = "vf" + record.pci.replace(":", "").replace(".", "")
            netdev.bring_home(self.place, pod, link, record.before, spare)
        return True


@contextmanager
def placed(namespace: Namespace) -> Iterator[Place]:
    """Use a namespace, with a netlink socket in it; it is closed afterwards."""
    with namespace, namespace.channel() as channel:
        yield Place(namespace, channel)


@contextmanager
def opened(invocation: Invocation, sysfs: Sysfs, port: VfPort) -> Iterator[Host]:
    """The host for one invocation; the calling thread's namespace is the host's."""
    with placed(Namespace.current()) as place, _logging(invocation) as log:
        yield Host(sysfs, port, Claims(directory(invocation)), place, log, _patience(invocation))


@contextmanager
def _logging(invocation: Invocation) -> Iterator[Log]:
    """Multus' log, or the file ``logFile``, as in the SR-IOV plugin."""
    reader = Reader(invocation.config, f"network {invocation.config.get('name')!r}, type 'sriov'")
    path, level = reader.text("logFile"), reader.text("logLevel", "info")
    if not path:
        yield invocation.log
        return
    sink = Sink(path=path, stderr=False)
    try:
        log = Log(sink, _LEVELS.get(level, level) if level in _KNOWN else "verbose")
        yield log.bind(container=invocation.request.container_id, ifname=invocation.ifname)
    finally:
        sink.close()


_KNOWN = ("panic", "error", "warning", "info", "debug")


def _patience(invocation: Invocation) -> float:
    return invocation.session.remaining(_PATIENCE)


def claimed(record: Record, invocation: Invocation) -> Record:
    """A record with container and interface of its DEL: the binary's records lack them."""
    return evolve(
        record,
        container_id=invocation.request.container_id,
        attachment=invocation.ifname,
        netns=record.netns or invocation.request.netns,
        ifname=record.ifname or invocation.ifname,
    )
