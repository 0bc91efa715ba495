"""Addresses that are allocated in a cluster, as plugins list them."""

from __future__ import annotations

from attrs import field, frozen

from multus.api.kubernetes._edits import Edit
from multus.api.kubernetes._objects import ObjectRef


@frozen
class Allocation:
    """An address that a pod's interface has, or a block of addresses that a node has.

    ``pod`` is namespace/name, ``container`` the ID of the sandbox; both are "" when they are not
    known.  ``owner`` is the object that the address outlives the pod for: it is freed when that one
    is gone, not when the pod is; a node is gone when no pod of it exists either.  ``release`` are
    the edits that free it, in order; each is made only when the one before it has answered with
    something, so they do not free what a newer container has taken over since; the first answers
    with nothing when it has freed nothing.  ``doubt`` says what is odd about it, "" for nothing.
    One that is ``inner`` is a part of another allocation, and is not counted.
    """

    address: str
    pod: str
    ifname: str
    container: str = ""
    owner: ObjectRef | None = None
    doubt: str = ""
    release: tuple[Edit, ...] = field(default=(), repr=False)
    inner: bool = False


@frozen
class AddressRange:
    """A range of addresses of a cluster: ``name`` as people write it, and what is allocated of it.

    ``network`` tells ranges of one name apart, ``size`` is how many addresses it has at most.
    ``unit`` says what is allocated, and what ``size`` counts, when it is not single addresses:
    "blocks of /28", for instance.
    """

    name: str
    network: str
    size: int
    allocations: tuple[Allocation, ...] = field(default=(), repr=False)
    unit: str = ""

    @property
    def used(self) -> int:
        """How many of ``size`` are allocated."""
        return sum(not each.inner for each in self.allocations)
