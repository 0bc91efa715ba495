"""ADD, DEL, CHECK, STATUS and GC of type ``sriov``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus import ipam
from multus.api.errors import (
    CheckFailed,
    CNIError,
    InvalidConfig,
    NotAvailable,
    StateDamaged,
    attempted,
)
from multus.api.invoker import Invoker
from multus.api.result import Interface, Result
from multus.netlink import Namespace, results
from multus_invoker_sriov import netdev, vf
from multus_invoker_sriov.claims import Record
from multus_invoker_sriov.conf import NODE_KEYS, SriovConf, has_ipam
from multus_invoker_sriov.host import Host, claimed, opened, placed
from multus_invoker_sriov.netdev import Place
from multus_invoker_sriov.sysfs import Sysfs, VirtualFunction, bind
from multus_invoker_sriov.vf import VfPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multus.api.network import Invocation

#: The administrative MAC of a VF whose driver chooses the MAC.
_NO_MAC = "00:00:00:00:00:00"


@frozen
class SriovInvoker(Invoker):
    """Assigns the VFs that *sysfs* lists to containers; *port* configures their cards.

    It works in the calling thread's network namespace, the host's.
    """

    sysfs: Sysfs
    port: VfPort
    name = "sriov"
    node_keys = NODE_KEYS

    def prepare(self, invocation: Invocation) -> None:
        pool = ipam.for_plugin(invocation) if has_ipam(invocation) else None
        if pool is not None:
            pool.prepare()

    def add(self, invocation: Invocation) -> Result:
        conf = SriovConf.read(invocation)
        with ExitStack() as stack:
            host = stack.enter_context(opened(invocation, self.sysfs, self.port))
            pod = stack.enter_context(placed(Namespace(invocation.request.netns)))
            _refuse_second(conf, host, pod, invocation)
            found = stack.enter_context(host.chosen(conf))
            record = _record(conf, found, host, invocation)
            host.claims.save(record)
            try:
                host.claims.mark(record.pci, record.netns)
                return _Attaching(conf, record, host, pod, invocation).attach()
            except BaseException as error:
                _undo(error, record, host)
                raise

    def delete_one(self, invocation: Invocation) -> None:
        parts = (_delete_addresses, self._delete_vf)
        _raise_all([self.attempted(part, invocation) for part in parts])

    def _delete_vf(self, invocation: Invocation) -> None:
        with opened(invocation, self.sysfs, self.port) as host:
            container_id, attachment = invocation.request.container_id, invocation.ifname
            try:
                record = host.claims.load(container_id, attachment)
            except StateDamaged as error:
                host.log.error("a VF's record is unreadable: the VF is not restored", error=error)
                host.claims.forget(container_id, attachment)
                return
            if record is None:
                host.claims.forget(container_id, attachment)
            else:
                host.give_back(claimed(record, invocation))

    def check(self, invocation: Invocation) -> None:
        conf = SriovConf.read(invocation)
        with opened(invocation, self.sysfs, self.port) as host:
            record = host.claims.load(invocation.request.container_id, invocation.ifname)
            if record is None or host.claims.marked(record.pci) != record.netns:
                raise CheckFailed(
                    f"{invocation.request} has no VF for interface {invocation.ifname}",
                    fix="delete it and create it again",
                )
            _check_attributes(conf, record, host)
        if record.before.name and conf.dpdk is None:
            with placed(Namespace(invocation.request.netns)) as pod:
                _check_interface(conf.ifname, pod, invocation.prev_result or Result())
        pool = ipam.for_plugin(invocation) if has_ipam(invocation) else None
        if pool is not None:
            pool.check()

    def status(self, invocation: Invocation) -> None:
        conf = SriovConf.read(invocation)
        try:
            if conf.device:
                self.sysfs.virtual_function(conf.device)
            else:
                self.sysfs.virtual_functions(conf.pf)
        except CNIError as error:
            raise error.into(NotAvailable) from error

    def gc(self, invocation: Invocation) -> None:
        parts = (self._collect_vfs, _collect_addresses)
        _raise_all([self.attempted(part, invocation) for part in parts])

    def _collect_vfs(self, invocation: Invocation) -> None:
        valid = {(each["containerID"], each["ifname"]) for each in invocation.valid_attachments}
        with opened(invocation, self.sysfs, self.port) as host:
            dead = [
                record
                for record in host.claims.records()
                if record.network == invocation.config.get("name")
                and (record.container_id, record.attachment) not in valid
            ]
            _raise_all([self.attempted(host.give_back, record) for record in dead])


@frozen
class _Attaching:
    """An ADD with a chosen and recorded VF; releasing the record undoes every step."""

    conf: SriovConf
    record: Record
    host: Host
    pod: Place
    invocation: Invocation

    def attach(self) -> Result:
        conf, record, host = self.conf, self.record, self.host
        host.log.verbose(f"VF {record.pci} of {record.pf} is assigned to {self.invocation.request}")
        pf = host.place.require(record.pf).index
        wanted = vf.messages(conf.applied_to(record.before.state), pf, record.index)
        host.port.apply([message for name, message in wanted.items() if name in record.changed])
        if conf.dpdk is not None:
            bind(host.sysfs, record.pci, conf.dpdk.dpdk_driver)
        if conf.dpdk is not None or not record.before.name:
            return self._addressed(self._userspace())
        netdev.give(host.place, self.pod, record.before.name, conf.ifname)
        link = netdev.set_up(self.pod, conf.ifname, conf.mac, host.log)
        return self._addressed(
            Interface(link.name, link.mac, record.netns, mtu=link.mtu, pci_id=record.pci)
        )

    def _userspace(self) -> Interface:
        """The reported interface of a VF with a userspace driver."""
        mac = self.conf.mac or self.record.before.state.mac
        return Interface(
            self.conf.ifname,
            mac="" if mac == _NO_MAC else mac,
            sandbox=self.record.netns,
            pci_id=self.record.pci,
        )

    def _addressed(self, interface: Interface) -> Result:
        """The result, with addresses if the configuration has IPAM."""
        pool = ipam.for_plugin(self.invocation) if has_ipam(self.invocation) else None
        if pool is None:
            return Result((interface,), dns=self.conf.dns)
        with ExitStack() as undo:
            given = pool.add()
            undo.callback(pool.delete)
            if not given.ips:
                raise InvalidConfig(
                    "IPAM plugin returned missing IP config",
                    fix="see its configuration",
                )
            result = Result(
                interfaces=(interface,),
                ips=tuple(evolve(ip, interface=0) for ip in given.ips),
                routes=given.routes,
                dns=given.dns or self.conf.dns,
            )
            link = self.pod.find(interface.name)
            if link is not None:
                results.apply(
                    result,
                    namespace=self.pod.namespace,
                    channel=self.pod.channel,
                    index=link.index,
                    name=link.name,
                )
                netdev.tell(self.pod, link, result, self.host.log)
            undo.pop_all()
        return result


def _refuse_second(conf: SriovConf, host: Host, pod: Place, invocation: Invocation) -> None:
    if pod.namespace.is_own():
        raise InvalidConfig(f"{pod.namespace.path} is the host's own network namespace")
    if host.claims.load(invocation.request.container_id, invocation.ifname) is not None:
        raise InvalidConfig(
            f"{invocation.request} has a VF for interface {invocation.ifname} already",
            fix="run DEL first",
        )
    netdev.refuse_taken(pod, conf.ifname)


def _record(conf: SriovConf, found: VirtualFunction, host: Host, invocation: Invocation) -> Record:
    return Record(
        container_id=invocation.request.container_id,
        attachment=invocation.ifname,
        netns=invocation.request.netns,
        ifname=conf.ifname,
        pci=found.pci,
        pf=found.pf,
        index=found.index,
        before=host.before(found),
        config=invocation.config,
        mac=conf.mac,
        changed=conf.attributes,
    )


def _undo(error: BaseException, record: Record, host: Host) -> None:
    """Return the VF of a failed ADD; when that fails too, its record stays for DEL."""

    def release() -> None:
        if host.release(record):
            host.claims.unmark(record.pci)
            host.claims.forget(record.container_id, record.attachment)

    second = attempted("invoker 'sriov'", release)
    if second is not None:
        host.log.error(f"VF {record.pci} is not returned yet; DEL tries again", error=second)
        if isinstance(error, CNIError):
            error.add_details(str(second))


def _delete_addresses(invocation: Invocation) -> None:
    pool = ipam.for_plugin(invocation) if has_ipam(invocation) else None
    if pool is not None:
        pool.delete()


def _collect_addresses(invocation: Invocation) -> None:
    pool = ipam.for_plugin(invocation) if has_ipam(invocation) else None
    if pool is not None:
        pool.gc()


def _check_attributes(conf: SriovConf, record: Record, host: Host) -> None:
    found = host.sysfs.virtual_function(record.pci)
    pf = host.place.require(found.pf).index
    now = vf.require(host.port, pf, found.index)
    is_now = vf.messages(now, pf, found.index)
    wanted = vf.messages(conf.applied_to(now), pf, found.index)
    wrong = [name for name in wanted if name in record.changed and wanted[name] != is_now.get(name)]
    if wrong:
        raise CheckFailed(
            f"{found} is not as configured: {', '.join(wrong)}",
            fix="find out what changed it, or delete the container and create it again",
        )


def _check_interface(ifname: str, pod: Place, reported: Result) -> None:
    found = [at for at, each in enumerate(reported.interfaces) if each.name == ifname]
    if found:
        results.check(reported, found[0], pod.channel)
    elif pod.find(ifname) is None:
        raise CheckFailed(f"there is no interface {ifname!r} in {pod.namespace.path}")


def _raise_all(found: Sequence[CNIError | None]) -> None:
    errors = [error for error in found if error is not None]
    if errors:
        raise errors[0].detailed(*map(str, errors[1:]))
