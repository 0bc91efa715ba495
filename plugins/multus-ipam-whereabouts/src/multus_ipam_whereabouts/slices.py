"""Slices: a node allocates in a part of the range that no other node has.

The key ``node_slice_size`` says how large a part is.  whereabouts' controller divides the range,
and writes into a NodeSlicePool which node has which part; a pool of the node and its part has the
allocations.  So nodes do not write to one pool.

A part begins at a multiple of its size.  DEL and CHECK therefore know from the address alone in
which one it is, also when the controller has divided the range anew since.

Source: whereabouts 0.9: ``pkg/storage/kubernetes/ipam.go``, ``pkg/node-controller``; the CRD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import AddressesExhausted, TryAgainLater
from multus.api.kubernetes import NotFound, is_object_name
from multus.api.reader import Reader
from multus.ipam.addresses import Address, Network
from multus_ipam_whereabouts import objects

if TYPE_CHECKING:
    from multus.api.kubernetes import Api, Deadline, ObjectRef
    from multus_ipam_whereabouts.ranges import Range

_KEY = "node_slice_size"
_RUN = "see that whereabouts' node-slice-controller runs"


class NoSlice(TryAgainLater):
    """The node has no part of the range, or not yet."""


class Slices(NamedTuple):
    """How a range is divided: ``object`` says who has which part, of ``prefix`` bits."""

    object: ObjectRef
    prefix: int

    @classmethod
    def read(
        cls, reader: Reader, ranges: Sequence[Range], namespace: str, name: str
    ) -> Slices | None:
        """Read the key; None without it.  *name* is the network's.  Raises ``InvalidConfig``."""
        text = reader.text(_KEY)
        if not text:
            return None
        if len(ranges) > 1:
            raise reader.error(_KEY, "divides one range, and there are more", "use one range")
        network, digits = ranges[0].network, text.removeprefix("/")
        prefix = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else -1
        if not network.prefix <= prefix < network.address.bits - 1:
            raise reader.error(
                _KEY,
                f"is {text!r}, which is not the size of a part of {network}",
                f"use the length of a part's prefix, as '/{min(network.prefix + 8, 30)}'",
            )
        if not is_object_name(name):
            raise reader.error(
                _KEY,
                f"needs a NodeSlicePool, and none can be called {name!r}, as this network",
                "set 'network_name'",
            )
        return cls(objects.NODE_SLICES.object(namespace, name), prefix)

    def own(self, whole: Range, api: Api, deadline: Deadline) -> Range:
        """This node's part of *whole*; raises ``NoSlice``, and ``AddressesExhausted``."""
        try:
            wire = api.get(self.object, deadline)
        except NotFound as error:
            raise NoSlice(
                f"{self.object} does not exist: it says which node has which part of"
                f" {whole.network}",
                fix=_RUN,
            ) from error
        network = self._network(Reader(wire, str(self.object)), whole.network, api.node)
        part = whole.part(network, api.node)
        if not part.spans:
            raise AddressesExhausted(
                f"{network}, the part of node {api.node}, has no address that may be allocated",
                fix="exclude less",
            )
        return part

    def _network(self, found: Reader, whole: Network, node: str) -> Network:
        """The part of *node*, as the NodeSlicePool *found* has it."""
        listed = found.inner("status").inners("allocations")
        nodes = [each.text("nodeName") for each in listed]
        if node in nodes:
            text = listed[nodes.index(node)].text("sliceRange")
            network = Network.parse(text)
            if network and network.prefix == self.prefix and network.first in whole:
                return network
            raise NoSlice(
                f"{self.object} has {text!r} for node {node}, which is not a part of {whole} with"
                f" prefix {self.prefix}",
                fix=_RUN,
            )
        if "" in nodes or not nodes:
            raise NoSlice(
                f"{self.object} has no part for node {node}",
                fix=f"{_RUN}; 'nodeName' of the daemon must be the node's name",
            )
        raise AddressesExhausted(
            f"{self.object}: node {node} has no part of {whole}, and other nodes have all"
            f" {len(nodes)}",
            fix=f"enlarge the range, or make the parts smaller ({_KEY!r})",
        )

    def around(self, whole: Range, addresses: Sequence[Address], node: str) -> list[Range]:
        """The parts of *whole* that have *addresses*."""
        firsts = {Network(each, self.prefix).first for each in addresses if each in whole.network}
        return [whole.part(Network(first, self.prefix), node) for first in firsts]
