"""Addresses out of the blocks of this node.

An address is given out, checked and given back in a folder of the node, under host-local's lock,
without the API server.  It is asked when no block of the node has a free address left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CNIError, IOFailure
from multus.ipam.addresses import Address, Network
from multus_ipam_whereabouts.blockorder import addresses_of
from multus_ipam_whereabouts.nodeblocks import OURS, Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from multus.api.kubernetes import Deadline
    from multus.ipam.store import Ledger, Owner
    from multus_ipam_whereabouts.blocktaking import Taking
    from multus_ipam_whereabouts.nodeblocks import Folder
    from multus_ipam_whereabouts.ranges import Range


class BlockAddresses:
    """The addresses of *within* that this node may give out."""

    def __init__(self, home: Home, within: Range) -> None:
        self.home, self.within = home, within

    def allocate(
        self, owner: Owner, deadline: Deadline, taking: Callable[[BlockAddresses], Taking]
    ) -> Address:
        """An address for *owner*, the same one when it has one; *taking* gets more of them.

        It does so while no other process of this node does.
        """
        found = self._held(owner) or self._free(owner, deadline)
        if found is not None:
            return found
        with self.home.locked(deadline):
            more = taking(self)
            while True:
                # Another process may have taken a block meanwhile, and others what this one took.
                found = self._free(owner, deadline)
                if found is not None:
                    return found
                more.take()

    def held(self, owner: Owner) -> list[str]:
        """The addresses that *owner* has."""
        return [text for each in self.home.folders() for text in each.store.of(owner)]

    def free(self, owner: Owner, deadline: Deadline) -> None:
        """Give back what *owner* has; a folder that is gone has nothing."""
        for folder in self.home.folders():
            with folder.store.locked(create=False, deadline=deadline.at) as ledger:
                if ledger is not None:
                    for text in ledger.held_by(owner):
                        ledger.free(text)

    def _held(self, owner: Owner) -> Address | None:
        found = (Address.parse(text) for text in self.held(owner))
        return next((each for each in found if each is not None and each in self.within), None)

    def _free(self, owner: Owner, deadline: Deadline) -> Address | None:
        """Give out an address of the first block that has one; None when none has.

        A damaged one is passed over, and its error raised when no other has an address.
        """
        damage: CNIError | None = None
        for folder in self.home.folders():
            if not folder.is_confirmed:
                continue  # `Taking` asks the API server
            try:
                with folder.store.locked(create=False, deadline=deadline.at) as ledger:
                    found = self._next(folder, ledger, owner) if ledger else None
            except IOFailure as error:
                damage, found = damage or error, None
            if found is not None:
                return found
        if damage is not None:
            raise damage
        return None

    def _next(self, folder: Folder, ledger: Ledger, owner: Owner) -> Address | None:
        # Read under the lock: whoever returns the block writes so under it, and before it is gone.
        block = folder.read()
        network = Network.parse(block.network) if block and block.state == OURS else None
        if block is None or network is None:
            return None
        lent = frozenset(block.lent.split())
        for address in addresses_of(self.within, network, ledger.last(0)):
            if str(address) not in lent and ledger.reserve(address, owner):
                ledger.remember(address, 0)
                return address
        return None
