"""The ranges of a cluster, as the installed plugins list them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import field, frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig
from multus.api.session import Session
from multus.healing import addresses
from multus.ipam.addresses import Address, Network

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange, Allocation
    from multus.healing.addresses import Suspect
    from multus.kube.client import KubeClient
    from multus.registry.hooks import Hooks


@frozen
class Cluster:
    """The API server, and the plugins that know what is allocated there."""

    hooks: Hooks
    conf: Conf
    session: Session
    client: KubeClient
    #: Why it is not known of some allocations whether they are in use.
    problems: list[CNIError] = field(factory=list)

    @classmethod
    def open(cls, conf: str, net_d: str, kubeconfig: str, stack: ExitStack) -> Cluster:
        """Connect to the server of *kubeconfig*, else of the node's configuration."""
        from multus.cli.node import find_conf, load_conf
        from multus.kube.client import KubeClient
        from multus.kube.kubeconfig import load_kubeconfig
        from multus.log import Log
        from multus.registry.index import discover
        from multus.registry.loading import load

        if kubeconfig and not conf:
            raw = {"name": "multus", "type": "multus", "kubeconfig": kubeconfig}
        else:
            raw = dict((load_conf(conf) if conf else find_conf(net_d)).config)
            raw = {**raw, **({"kubeconfig": kubeconfig} if kubeconfig else {})}
        named = Conf.from_wire(raw)
        place = named.reader.text("kubeconfig")
        if not place:
            raise InvalidConfig(
                "the configuration has no 'kubeconfig': no range of a cluster is known",
                fix="add it, or use --kubeconfig",
            )
        client = KubeClient(load_kubeconfig(place))
        stack.callback(client.close)
        session = stack.enter_context(Session(Log.from_conf({"logLevel": "error"}), api=client))
        return cls(load(discover()).hooks, named, session, client)

    def ranges(self) -> list[AddressRange]:
        """All ranges, read now."""
        return self.hooks.allocations(self.conf, self.session)

    def suspects(self, ranges: Sequence[AddressRange]) -> list[Suspect]:
        """The allocations whose pod is gone."""
        found = addresses.suspects(ranges, self.client)
        self.problems[:] = found.problems
        return found.suspects

    def named(self, wanted: Sequence[str], *, force: bool) -> list[Suspect]:
        """The allocations of these addresses; those of living pods only with *force*."""
        ranges = self.ranges()
        gone = {id(each.allocation) for each in self.suspects(ranges)}
        found = []
        for text in wanted:
            held = [
                addresses.Suspect(each, one, "it was named")
                for each in ranges
                for one in each.allocations
                if one.address == text
            ]
            if not held:
                raise _nowhere(text, ranges)
            alive = [each for each in held if id(each.allocation) not in gone]
            if alive and not force:
                raise _in_use(text, alive[0].allocation)
            found += held
        return found


def _nowhere(text: str, ranges: Sequence[AddressRange]) -> InvalidConfig:
    """The error for an address of which no range says who has it."""
    address = Address.parse(text)
    for each in (one for found in ranges for one in found.allocations):
        block = Network.parse(each.address)
        if address is not None and block is not None and address in block:
            return InvalidConfig(
                f"{text} is in block {each.address} of {each.owner or 'no node'}: only the node"
                " knows which pod has it",
                fix=f"delete the pod, or release the whole block {each.address}",
            )
    return InvalidConfig(f"{text} is allocated in no range", fix="see 'multus ipam list'")


def _in_use(text: str, held: Allocation) -> InvalidConfig:
    if held.owner is not None and not held.pod:
        fix = "use --force when it is gone: pods that it has keep addresses that others may get too"
        return InvalidConfig(f"{text} is in use by {held.owner}", fix=fix)
    return InvalidConfig(
        f"{text} is in use by pod {held.pod or '(unknown)'}",
        fix="delete the pod, or use --force: another pod may then get its address",
    )
