"""The invoker: moves an interface of the host to the container, and back."""

from __future__ import annotations

import errno
import re
import time
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, InvalidConfig, KernelRefused
from multus.api.invoker import Invoker
from multus.api.names import interface_problem
from multus.api.progress import step
from multus.inprocess import Job, LinkInvoker, Made
from multus.inprocess.devices import RETURN, RETURN_PAUSE, Devices, find_moved, send_home
from multus.netlink import Namespace, NamespaceGone, Refused, Transport, links
from multus_invoker_host_device.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from multus.api.network import Invocation
    from multus.api.result import DNS
    from multus.inprocess import Ends
    from multus.netlink import Channel
    from multus.netlink.links import Link


#: The kernel's name for an interface that it returns while its own name is in use.
_IN_USE = re.compile(r"dev[0-9]+")


class HostDevice(LinkInvoker[Config]):
    """Gives an interface to a container, with its name on the host as its alias.

    *devices* are those of sysfs.
    """

    name = "host-device"
    # The interface is not deleted.
    before_delete = staticmethod(Invoker.before_delete)

    def __init__(
        self,
        transport: Callable[[socket], Transport] = Transport,
        devices: Devices | None = None,
    ) -> None:
        super().__init__(transport)
        self._devices = devices or Devices()

    def read(self, invocation: Invocation) -> Config:
        return Config.read(invocation, self._devices)

    def dns_of(self, config: Config) -> DNS:
        return config.dns

    def create(self, job: Job[Config]) -> Made:
        config, ends = job.config, job.ends
        if config.has_userspace_driver(self._devices):
            return Made(0, (job.interface(""),))
        link = config.find(ends.host, self._devices)
        if link is None:
            raise config.refusal(job.invocation)
        job.refuse_taken()
        job.on_failure(_give_back, ends, link, job.ifname)
        aliased = links.set_alias(link.index, link.name)
        try:
            ends.host.request([aliased, links.move(link.index, ends.pod, job.ifname)])
        except Refused as error:
            if error.errno != errno.EINVAL:
                raise
            raise config.immovable(job.invocation, link) from error
        moved = links.find(ends.inside, job.ifname)
        if moved is None:
            raise KernelRefused(f"interface {job.ifname} disappeared", fix="try again")
        job.apply(moved.index, job.given)
        return Made(moved.index, (job.interface(moved.mac),))

    def detach(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        return [self.attempted(self._return, each) for each in invocations]

    def check(self, invocation: Invocation) -> None:
        if not self.read(invocation).has_userspace_driver(self._devices):
            super().check(invocation)
            return
        pool = self.pool(invocation)
        if pool is not None:
            pool.check()

    def _return(self, invocation: Invocation) -> None:
        netns = invocation.request.netns
        with Namespace.current() as here, here.channel(transport=self._transport) as host:
            try:
                if not netns:
                    raise NamespaceGone("the container has no namespace any more")
                with Namespace(netns) as pod, pod.channel(transport=self._transport) as inside:
                    if not _send_home(invocation, inside, here, host):
                        self._restore(invocation, host)
            except NamespaceGone:
                self._wait_and_restore(invocation, host)

    def _wait_and_restore(self, invocation: Invocation, host: Channel) -> None:
        """Restore the name of an interface that the kernel returns with the end of a namespace."""
        patience = RETURN if _mac(invocation) else 0.0
        deadline = time.monotonic() + patience
        with step("the return of a device", patience + 5.0, waits=True):
            while not self._restore(invocation, host, returned=True):
                if time.monotonic() >= deadline:
                    return
                time.sleep(RETURN_PAUSE)

    def _restore(self, invocation: Invocation, host: Channel, *, returned: bool = False) -> bool:
        """Restore an interface that is on the host; whether it is there.

        An ADD that was killed before the move leaves its name as its alias.  When the kernel has
        *returned* it, it has its name in the container, or "dev" and a number if that was in use.
        """
        try:
            config = self.read(invocation)
        except InvalidConfig:
            return True  # ADD refused it
        link = config.find(host, self._devices)
        if link is None and config.device and returned:
            link = _by_alias(host, config.device, _mac(invocation))
        if link is None:
            return False
        forget, name = links.set_alias(link.index, ""), _name_at_home(link)
        if link.alias == link.name:
            host.request([forget])
        elif returned and name and _is_returned(link, invocation):
            _require_free(host, name)
            # Before Linux 6.2 an interface can be renamed only while it is down.
            down, renamed = links.set_down(link.index), links.rename(link.index, name)
            host.request([down, renamed, forget])
        return True


def _send_home(invocation: Invocation, inside: Channel, here: Namespace, host: Channel) -> bool:
    """Return the interface from the container; whether it is there."""
    mac = _mac(invocation)
    link = find_moved(inside, (invocation.ifname,), {mac} if mac else ())
    if link is None:
        return False
    name = _name_at_home(link)
    if not name and link.mac == mac:
        name = _configured_name(invocation, link)
    if not name:
        return False  # it is not the device
    _require_free(host, name)
    send_home(inside, link, here, name)
    # Last: until it is on the host, the alias alone says its name there.
    host.request([links.set_alias(name, "")])
    return True


def _give_back(ends: Ends, before: Link, ifname: str) -> None:
    """Undo an ADD: the interface is in the container, or still on the host."""
    link = links.find(ends.inside, ifname)
    if link is not None and link.mac == before.mac and link.kind == before.kind:
        with Namespace.current() as here:
            send_home(ends.inside, link, here, before.name)
    up = [links.set_up(before.name)] if before.up else []
    ends.host.request([links.set_alias(before.name, before.alias), *up])


def _name_at_home(link: Link) -> str:
    """The interface's name on the host, by its alias; "" for an alias that is not a name.

    A container may change the alias, to a text that the kernel cannot be asked for.
    """
    return "" if interface_problem(link.alias) else link.alias


def _configured_name(invocation: Invocation, link: Link) -> str:
    """The name on the host of an interface that has lost its alias."""
    device = invocation.config.get("device")
    if isinstance(device, str) and not interface_problem(device):
        return device
    raise KernelRefused(
        f"interface {link.name} in {invocation.request.netns} has lost its alias, which was its"
        " name on the host",
        fix=f"set it again: ip link set {link.name} alias NAME",
    )


def _by_alias(host: Channel, name: str, mac: str) -> Link | None:
    every = links.list_all(host)
    return next((each for each in every if each.alias == name and mac in ("", each.mac)), None)


def _is_returned(link: Link, invocation: Invocation) -> bool:
    return link.name == invocation.ifname or bool(_IN_USE.fullmatch(link.name))


def _require_free(host: Channel, name: str) -> None:
    if links.find(host, name) is not None:
        raise KernelRefused(
            f"the host has another interface {name}, which is the name of the container's device",
            fix="rename or delete the other one; the next DEL returns the device",
        )


def _mac(invocation: Invocation) -> str:
    """The MAC of the interface that ADD reported; "" when it reported none."""
    result = invocation.prev_result
    found = () if result is None else result.interfaces
    own = (each.mac.lower() for each in found if each.name == invocation.ifname)
    return next(own, "")
