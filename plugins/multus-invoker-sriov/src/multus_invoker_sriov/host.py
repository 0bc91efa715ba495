"""The host's side: choosing a VF that nobody has, and making it what it was before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.api.progress import step
from multus.api.reader import Reader
from multus.log import Log, Sink
from multus.netlink import Namespace, NamespaceGone, is_namespace
from multus_invoker_sriov import netdev, vf
from multus_invoker_sriov.claims import Before, Claims, Record
from multus_invoker_sriov.conf import directory
from multus_invoker_sriov.netdev import Place
from multus_invoker_sriov.sysfs import USERSPACE_DRIVERS, Sysfs, VirtualFunction, bind
from multus_invoker_sriov.vf import VfPort

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus_invoker_sriov.conf import SriovConf

#: How long a command waits for a VF that another command works on, in seconds.
_PATIENCE = 60.0

#: How long the kernel may take to return the interfaces of a namespace that is gone, in seconds.
_RETURN, _RETURN_PAUSE = 1.0, 0.02

#: The levels of the SR-IOV plugin's own log, in those of Multus' log.
_LEVELS = {"warning": "error", "info": "verbose"}


@frozen
class Host:
    """One command's access to the cards: what they are, whose their VFs are, where they are told.

    ``patience`` is how long it may wait for a VF's lock, in seconds.
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
        """A VF that nobody has, its lock held; raises ``TryAgainLater`` when there is none."""
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
        # First those that nobody works on; then wait for those that may be on their way back.
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
        """Who has a VF, in words, empty for nobody; a mark that is stale is taken away."""
        netns = self.claims.marked(found.pci)
        if netns and is_namespace(netns):
            return f"the container in {netns} has it"
        if netns:
            self.log.verbose(f"{found} is taken from a container that is gone", netns=netns)
            for record in self.claims.records():
                if (record.pci, record.netns) != (found.pci, netns):
                    continue
                # What it was like before is in that record alone.
                if not self.release(record):
                    return f"it is not back yet from the container that was in {netns}"
                self.claims.forget(record.container_id, record.attachment)
            self.claims.unmark(found.pci)
        names = self.sysfs.interfaces(found.pci)
        if names and all(self.place.find(name) is None for name in names):
            return "its interface is not on the host"
        return ""

    def before(self, found: VirtualFunction) -> Before:
        """What a VF is like now; raises ``TryAgainLater`` when nothing serves it."""
        names = self.sysfs.interfaces(found.pci)
        driver = self.sysfs.driver(found.pci)
        if not names and driver not in USERSPACE_DRIVERS:
            raise TryAgainLater(
                f"{found} has neither an interface on the host nor a userspace driver (its driver:"
                f" {driver or 'none'}): it may be on its way back, or bind it to a driver"
            )
        state = vf.require(self.port, self.place.require(found.pf).index, found.index)
        if not names:
            return Before(state, driver)
        link = self.place.require(names[0])
        return Before(state, driver, link.name, link.mac, link.mtu, link.up, link.kind)

    # --- Returning --------------------------------------------------------------------------------

    def give_back(self, record: Record) -> None:
        """Return the VF of a record, unless it is another's by now, and forget the record."""
        with self.claims.locked(record.pci, self.patience):
            if self.claims.load(record.container_id, record.attachment) is None:
                return  # another DEL was faster
            self.claims.tidy(record.pci)
            # No mark: nothing was done yet, or all is done.  Another's: the VF is another's.
            if self.claims.marked(record.pci) == record.netns:
                if not self.release(record, _RETURN):
                    self.log.error(f"VF {record.pci} did not come back: its interface stays as is")
                self.claims.unmark(record.pci)
            self.claims.forget(record.container_id, record.attachment)

    def release(self, record: Record, patience: float = 0.0) -> bool:
        """Make the VF what it was before; it may be anywhere, or gone with its card.

        False when its interface is nowhere, because the kernel is still taking its namespace down,
        also after *patience* seconds; its attributes are then restored all the same.
        """
        try:
            found = self.sysfs.virtual_function(record.pci)
        except InvalidConfig as error:
            self.log.error(f"VF {record.pci} is gone: there is nothing to restore", error=error)
            return True
        # Through the card first: some drivers let nobody change the interface of a VF that has
        # lost what it was trusted with.
        pf = self.place.require(found.pf).index
        now = vf.require(self.port, pf, found.index)
        was = record.before.state
        self.port.apply(vf.restoring(was, now, record.changed, pf, found.index))
        if record.before.driver not in ("", self.sysfs.driver(record.pci)):
            # Its interface is made anew, with what the driver gives it.
            bind(self.sysfs, record.pci, record.before.driver)
            return True
        deadline = time.monotonic() + patience
        with step(f"VF {record.pci} to come home", patience + 5.0, waits=True):
            while record.before.name and not self._bring_home(record):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_RETURN_PAUSE)
        return True

    def _bring_home(self, record: Record) -> bool:
        for name in self.sysfs.interfaces(record.pci):
            link = self.place.find(name)
            if link is not None and netdev.may_be(link, record.before):
                # It never left, or the kernel returned it when its namespace went.
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
            # A name for the case that its own is taken: "vf" and the PCI address' digits.
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
    """The host as the calling thread's namespace is it, for one invocation."""
    with placed(Namespace.current()) as place, _logging(invocation) as log:
        yield Host(sysfs, port, Claims(directory(invocation)), place, log, _patience(invocation))


@contextmanager
def _logging(invocation: Invocation) -> Iterator[Log]:
    """Multus' log, or with ``logFile`` that file, as the SR-IOV plugin has one of its own."""
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
    """A record as its DEL knows it: the binary's do not say whose they are."""
    return evolve(
        record,
        container_id=invocation.request.container_id,
        attachment=invocation.ifname,
        netns=record.netns or invocation.request.netns,
        ifname=record.ifname or invocation.ifname,
    )
