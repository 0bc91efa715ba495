"""ADD, DEL, CHECK, STATUS and GC of type ``sriov``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import (
    RECREATE,
    CheckFailed,
    CNIError,
    InvalidConfig,
    NotAvailable,
    StateDamaged,
    attempted,
)
from multus.api.invoker import Invoker
from multus.api.result import Interface, Result
from multus.inprocess import Job, LinkInvoker, Made
from multus.netlink import Namespace, results
from multus_invoker_sriov import netdev, vf
from multus_invoker_sriov.claims import Claims, Record
from multus_invoker_sriov.conf import NODE_KEYS, SriovConf, directory, has_ipam
from multus_invoker_sriov.host import Host, claimed, opened, placed
from multus_invoker_sriov.netdev import Place
from multus_invoker_sriov.sysfs import Sysfs, VirtualFunction, bind
from multus_invoker_sriov.vf import VfPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multus.api.network import Invocation
    from multus.ipam import Ipam

#: The administrative MAC of a VF whose driver chooses the MAC.
_NO_MAC = "00:00:00:00:00:00"


class SriovInvoker(LinkInvoker[SriovConf]):
    """Assigns the VFs that *sysfs* lists to containers; *port* configures their cards.

    It works in the calling thread's network namespace, the host's.
    """

    name = "sriov"
    node_keys = NODE_KEYS
    # Interfaces are moved, not deleted.
    before_delete = staticmethod(Invoker.before_delete)

    def __init__(self, sysfs: Sysfs, port: VfPort) -> None:
        super().__init__()
        self.sysfs = sysfs
        self.port = port

    def read(self, invocation: Invocation) -> SriovConf:
        return SriovConf.read(invocation)

    def pool(self, invocation: Invocation) -> Ipam | None:
        return super().pool(invocation) if has_ipam(invocation) else None

    def add(self, invocation: Invocation) -> Result:
        # Before IPAM: undoing this ADD would free the addresses of the first one.
        claims = Claims(directory(invocation))
        if claims.load(invocation.request.container_id, invocation.ifname) is not None:
            raise InvalidConfig(
                f"{invocation.request} has a VF for interface {invocation.ifname} already",
                fix="run DEL first",
            )
        return super().add(invocation)

    def create(self, job: Job[SriovConf]) -> Made:
        conf, invocation = job.config, job.invocation
        pod = Place(job.ends.pod, job.ends.inside)
        netdev.refuse_taken(pod, conf.ifname)
        with opened(invocation, self.sysfs, self.port) as host, host.chosen(conf) as found:
            record = _record(conf, found, host, invocation)
            host.claims.save(record)
            try:
                host.claims.mark(record.pci, record.netns)
                return _Attaching(record, host, pod, job).attach()
            except BaseException as error:
                _undo(error, record, host)
                raise

    def result(self, job: Job[SriovConf], made: Made) -> Result:
        return evolve(super().result(job, made), dns=job.given.dns or job.config.dns)

    def detach(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        return [self.attempted(self._delete_vf, each) for each in invocations]

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
        pool = self.pool(invocation)
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
        parts = (self._collect_vfs, super().gc)
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

    record: Record
    host: Host
    pod: Place
    job: Job[SriovConf]

    def attach(self) -> Made:
        conf, record, host = self.job.config, self.record, self.host
        request = self.job.invocation.request
        host.log.verbose(f"VF {record.pci} of {record.pf} is assigned to {request}")
        pf = host.place.require(record.pf).index
        wanted = vf.messages(conf.applied_to(record.before.state), pf, record.index)
        host.port.apply([message for name, message in wanted.items() if name in record.changed])
        if conf.dpdk is not None:
            bind(host.sysfs, record.pci, conf.dpdk.dpdk_driver)
        if conf.dpdk is not None or not record.before.name:
            return Made(0, (self._userspace(),))
        netdev.give(host.place, self.pod, record.before.name, conf.ifname)
        link = netdev.set_up(self.pod, conf.ifname, conf.mac, host.log)
        given = self.job.given
        if given.ips:
            self.job.apply(link.index, given)
            netdev.tell(self.pod, link, given, host.log)
        own = Interface(link.name, link.mac, record.netns, mtu=link.mtu, pci_id=record.pci)
        return Made(link.index, (own,))

    def _userspace(self) -> Interface:
        """The reported interface of a VF with a userspace driver."""
        mac = self.job.config.mac or self.record.before.state.mac
        return Interface(
            self.job.config.ifname,
            mac="" if mac == _NO_MAC else mac,
            sandbox=self.record.netns,
            pci_id=self.record.pci,
        )


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
            fix=f"find out what changed it, or {RECREATE}",
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
