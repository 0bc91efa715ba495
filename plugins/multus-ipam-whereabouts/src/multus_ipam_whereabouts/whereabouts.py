"""The verbs: an address of each range is allocated in its pool, and reserved beside other ranges.

The pool is written, then the reservation, or both at the same time; an address that another range's
pod has reserved is given back and the next one is taken.  Neither needs a leader: the API server
refuses a write that was computed from an old object, and a second object of one name.

Nothing is lost: the engine has written down the configuration and the container before ADD, and DEL
finds what the container has by its ID.  When the API server is away, what DEL has to change is kept
in a file and made later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import (
    RECREATE,
    AddressesExhausted,
    CheckFailed,
    CNIError,
    InvalidConfig,
    NotAvailable,
    TryAgainLater,
)
from multus.api.ipam import Ipam
from multus.api.kubernetes import ApiFailure, Deadline, Edit, NotFound, SourceSettings, api_of
from multus.api.result import IP, Result
from multus.ipam.addresses import Address
from multus.ipam.settings import interface_ip, require_one_per_family
from multus.ipam.store import Owner
from multus_ipam_whereabouts import objects, used
from multus_ipam_whereabouts.blockaddresses import BlockAddresses
from multus_ipam_whereabouts.blocks import range_of
from multus_ipam_whereabouts.claims import Claim
from multus_ipam_whereabouts.conf import Settings, wanted
from multus_ipam_whereabouts.nodeblocks import Home
from multus_ipam_whereabouts.slices import NoSlice

if TYPE_CHECKING:
    from multus.api.kubernetes import Api, ObjectRef
    from multus.api.network import Invocation
    from multus_ipam_whereabouts.blocktaking import Taking
    from multus_ipam_whereabouts.ranges import Range

_POOL, _RESERVATION = "multus_ipam_whereabouts.pool", "multus_ipam_whereabouts.reservation"
#: The time for giving back what a failed ADD has allocated, beyond the deadline; seconds.
_CLEAN_UP = 2.0
#: After so many addresses that other ranges have, the reservations are listed.
_TRIED = 1
#: How long a DEL tries to reach the API server, in seconds.
_LEAVING = 4.0


class Whereabouts(Ipam):
    """The addresses of one invocation."""

    name = "whereabouts"

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self._claim: Claim | None = None

    def add(self) -> Result:
        settings = Settings.read(self.invocation)
        self._claim = Claim.of(self.invocation)
        if not self._podref.strip("/"):
            raise InvalidConfig(
                "there is no pod: CNI_ARGS has no K8S_POD_NAMESPACE and K8S_POD_NAME",
                where=settings.where,
                fix="use IPAM of type host-local for containers without a pod",
            )
        deadline = self._deadline()
        settings = settings.for_add(self._api, deadline)
        left = wanted(self.invocation, settings)
        used.keep(self.invocation, settings.used)
        if self._claim is not None:
            self._claim.require_served(settings)
            left = self._claim.addresses(self._api(), deadline) or left
        families = [each.network.address.family for each in settings.ranges]
        families += [each.network.address.family for each in settings.addresses]
        require_one_per_family(families, self.invocation)
        ips: list[IP] = []
        try:
            for each in settings.ranges:
                asked = [one for one in left if one in each]
                address = self._allocate(settings, each, asked, deadline)
                left = [one for one in left if one != address]
                gateway = _same_family(settings.gateway, address)
                ips.append(interface_ip(address, each.prefix, gateway))
            if left:
                raise InvalidConfig(
                    f"no range is left for the requested {', '.join(map(str, left))}",
                    where=settings.where,
                    fix="request one address of each range",
                )
            if self._claim is not None:
                self._api().edit(self._claim.bind(ips), deadline)
        except CNIError:
            # Also when the answer was lost: the address may have been allocated.
            self._take_back(settings, ips)
            raise
        ips += [
            interface_ip(each.network.address, each.network.prefix, each.gateway)
            for each in settings.addresses
        ]
        return Result(ips=tuple(ips), routes=settings.routes, dns=settings.dns)

    def _take_back(self, settings: Settings, ips: Sequence[IP]) -> None:
        """Free what a failed ADD may have; a second error must not hide the first."""
        if self._claim is not None:
            return  # it is the claim's, whichever pod comes next
        try:
            self._free(settings, ips, Deadline.after(_CLEAN_UP))
        except CNIError as error:
            self.invocation.log.error(f"{settings.where}: not given back", error=error)

    def _allocate(
        self, settings: Settings, within: Range, asked: Sequence[Address], deadline: Deadline
    ) -> Address:
        if within.block:
            return self._from_block(settings, within, deadline)
        api = self._api()
        base, avoid, new = within.network.first, list[int](), False
        reserve = {
            "first": str(base),
            "namespace": settings.namespace,
            "name": settings.network_name,
            "at_once": bool(within.node),
        }
        while True:
            given = {
                **self._owner,
                "range": str(within.network),
                "spans": within.spans,
                "wanted": [each.value - base.value for each in asked],
                "avoid": avoid,
                "sticky": settings.sticky,
                "claim": self._claim is not None,
                "new": new,
                "reserve": reserve if settings.overlapping else None,
            }
            answer = api.edit(self._pool_edit(settings, within, "allocate", given), deadline)
            if answer is None:
                self._require_no_blocks(settings, within, deadline)
                new = True
                continue
            distance: int = answer[0] if settings.overlapping else answer
            holder: str = answer[1] if settings.overlapping else ""
            if not holder:
                return base + distance
            # A pod on another range has it; what its pool has of it here is given back.
            avoid.append(distance)
            if len(avoid) > _TRIED:
                avoid = sorted({*avoid, *self._reserved(api, settings, within, deadline)})

    def _require_no_blocks(self, settings: Settings, within: Range, deadline: Deadline) -> None:
        """Nothing is allocated from a pool while nodes have blocks of its range.

        The pool says so, unless somebody has deleted it.
        """
        try:
            found = self._api().select(objects.BLOCKS, {}, deadline)
        except ApiFailure as error:
            if not error.lasts:
                raise
            return  # the kind is not installed, or not for this account: it has no blocks
        key = (settings.namespace, str(within.network), settings.network_name)
        blocks = [each for each in found if range_of(each) == key]
        if blocks:
            raise InvalidConfig(
                f"range {within.network} is given out in blocks: nodes have {len(blocks)} of them",
                where=settings.where,
                fix="add 'block' beside the range, or see 'multus ipam list' for who has them",
            )

    def _reserved(
        self, api: Api, settings: Settings, within: Range, deadline: Deadline
    ) -> Iterator[int]:
        """The distances that others have reserved; none when they cannot be listed."""
        try:
            found = api.select(objects.RESERVATIONS, {}, deadline)
        except CNIError as error:
            self.invocation.log.verbose("reservations are tried one by one", error=error)
            return
        for each in found:
            metadata, spec = each.get("metadata") or {}, each.get("spec") or {}
            if metadata.get("namespace") != settings.namespace:
                continue
            own = (spec.get("podref"), spec.get("ifname")) == (self._podref, self.invocation.ifname)
            text = objects.address_in(str(metadata.get("name", "")), settings.network_name)
            address = Address.parse(text)
            if address is not None and address in within.network and not own:
                yield address.value - within.network.first.value

    def _from_block(self, settings: Settings, within: Range, deadline: Deadline) -> Address:
        def taking(blocks: BlockAddresses) -> Taking:
            # Most ADDs find a free address on the node.
            from multus_ipam_whereabouts.blocktaking import Taking

            pool, conf = self._pool(settings, within), self.invocation.conf
            named = (conf.cni_dir, conf.reader.text("kubeconfig"))
            return Taking(self._api(), blocks.within, pool, blocks.home, *named, deadline)

        return self._blocks(settings, within).allocate(self._interface, deadline, taking)

    def delete(self) -> None:
        self._delete()
        used.forget(self.invocation)

    def _delete(self) -> None:
        try:
            settings = Settings.of_add(self.invocation)
            self._claim = Claim.of(self.invocation)
        except InvalidConfig as error:
            # ADD refused this configuration, so no address is held; unless it was the binary's.
            log = self.invocation.log
            tell = log.error if self.invocation.prev_result else log.verbose
            tell("no address is given back: 'ipam' is invalid", error=error)
            return
        previous, deadline = self.invocation.prev_result, self._deadline()
        if self._claim is None:
            self._free(settings, previous.ips if previous else (), deadline)
            return
        kept: list[Edit] = []
        self._made(self._api(), self._claim.unbind(), kept, deadline)
        if kept:
            self._api().keep(kept)

    def _free(self, settings: Settings, ips: Sequence[IP], deadline: Deadline) -> None:
        """Give back what the container has; what cannot be written now is kept for later."""
        self.free_of_blocks(settings, deadline)
        pooled = [each for each in settings.ranges if not each.block]
        if not pooled:
            return
        api = self._api()
        reported = [Address.parse(each.address.partition("/")[0]) for each in ips]
        kept: list[Edit] = []
        try:
            pooled = [each for each in settings.holding(ips, self._api, deadline) if not each.block]
        except (NoSlice, AddressesExhausted):
            return  # no address was allocated, or this node's part is another one by now
        for each in pooled:
            begun = not reported and bool(self._podref.strip("/"))
            given = {**self._owner, "range": str(each.network), "fence": begun}
            release = self._pool_edit(settings, each, "release", given)
            known = [one for one in reported if one is not None and one in each.network]
            answer = self._made(api, release, kept, deadline) or {}
            freed = {each.network.first + int(one): pod for one, pod in answer.items()}
            for address in dict.fromkeys((*known, *freed)) if settings.overlapping else ():
                given = {**self._owner, "freed": address in freed}
                given["podref"] = freed.get(address, given["podref"])
                forget = self._reservation_edit(settings, address, "forget", given)
                self._made(api, forget, kept, deadline)
        if kept:
            api.keep(kept)

    def free_of_blocks(self, settings: Settings, deadline: Deadline) -> None:
        """Give back what the container has in this node's blocks, without the API server."""
        for each in settings.ranges:
            if each.block:
                self._blocks(settings, each).free(self._interface, deadline)

    def _made(self, api: Api, edit: Edit, kept: list[Edit], deadline: Deadline) -> Any:
        """The answer of an edit of DEL; one that cannot be made now is added to *kept*."""
        if not kept:
            try:
                return api.edit(edit, deadline)
            except NotFound as error:
                if not error.kind_known:
                    return None  # no object of this kind exists
                raise
            except TryAgainLater as error:
                self.invocation.log.error(f"{edit.object}: its change is kept", error=error)
        kept.append(edit)
        return None

    def check(self) -> None:
        self._claim = Claim.of(self.invocation)
        settings, deadline = Settings.of_add(self.invocation), self._deadline()
        previous = self.invocation.prev_result
        for each in settings.holding(previous.ips if previous else (), self._api, deadline):
            held = self._held(settings, each, deadline)
            reported = {ip.address.partition("/")[0] for ip in (previous.ips if previous else ())}
            fixed = {str(one.network.address) for one in settings.addresses}
            ours = {
                text
                for text in reported - fixed
                if (address := Address.parse(text)) is not None and address in each.network
            }
            if not held or not ours <= held:
                raise CheckFailed(
                    f"range {each.network}: {', '.join(sorted(ours)) or 'no address'} is not"
                    f" allocated to container {self._owner['id']}, interface"
                    f" {self._owner['ifname']}: another pod may get it",
                    fix=RECREATE,
                )

    def _held(self, settings: Settings, within: Range, deadline: Deadline) -> set[str]:
        if within.block:
            return set(self._blocks(settings, within).held(self._interface))
        edit = self._pool_edit(settings, within, "held", self._owner)
        return {str(within.network.first + int(one)) for one in self._api().edit(edit, deadline)}

    def status(self) -> None:
        settings, api = Settings.read(self.invocation), self._api()
        try:
            settings = settings.for_add(self._api, self._deadline())
            for each in settings.ranges:
                edit = self._pool_edit(settings, each, "held", self._owner)
                api.edit(edit, self._deadline())
        except CNIError as error:
            raise error.into(NotAvailable) from error

    @property
    def _podref(self) -> str:
        args = self.invocation.args
        return f"{args.get('K8S_POD_NAMESPACE', '')}/{args.get('K8S_POD_NAME', '')}"

    @property
    def _owner(self) -> dict[str, Any]:
        return {
            "id": self._claim.id if self._claim else self.invocation.request.container_id,
            "podref": self._podref,
            "ifname": self.invocation.ifname,
        }

    @property
    def _interface(self) -> Owner:
        return Owner(self.invocation.request.container_id, self.invocation.ifname)

    def _blocks(self, settings: Settings, within: Range) -> BlockAddresses:
        home = Home.of(self.invocation.conf.cni_dir, self._pool(settings, within))
        if settings.gateway is not None:
            within = within.without(settings.gateway)
        return BlockAddresses(home, within)

    def _pool(self, settings: Settings, within: Range) -> ObjectRef:
        network, name = str(within.network), settings.network_name
        return objects.pool(settings.namespace, network, name, within.node)

    def _pool_edit(
        self, settings: Settings, within: Range, function: str, given: dict[str, Any]
    ) -> Edit:
        return Edit(self._pool(settings, within), f"{_POOL}:{function}", given)

    def _reservation_edit(
        self, settings: Settings, address: Address, function: str, given: dict[str, Any]
    ) -> Edit:
        name = settings.network_name
        wanted_one = objects.reservation(settings.namespace, str(address), name)
        return Edit(wanted_one, f"{_RESERVATION}:{function}", given)

    def _api(self) -> Api:
        api = api_of(self.invocation.conf, self.invocation.session)
        assert api is not None  # without one, the hook declined
        return api

    def _deadline(self) -> Deadline:
        seconds = SourceSettings.of(self.invocation.conf).api_timeout
        left = self.invocation.session.remaining(seconds)
        if self.invocation.verb == "DEL":
            # What cannot be done by then is kept.
            left = min(max(left, _CLEAN_UP), _LEAVING)
        return Deadline.after(left)


def _same_family(gateway: Address | None, address: Address) -> Address | None:
    return gateway if gateway is not None and gateway.family == address.family else None
