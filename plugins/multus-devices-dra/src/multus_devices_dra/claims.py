"""From a pod's claims to the devices of its networks.

    pod.status.resourceClaimStatuses           -> ResourceClaim
    pod.status.extendedResourceClaimStatus     -> ResourceClaim, by requests
    ResourceClaim.status.allocation            -> driver, pool, device
    ResourceSlice.spec.devices[].attributes    -> resource name, device ID

Source: Kubernetes API, resource.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes import PODS, is_same
from multus.api.reader import Reader
from multus_devices_dra import CLAIMS, DEVICE_ID, RESOURCE_NAME, SLICES

if TYPE_CHECKING:
    from multus.api.kubernetes import ObjectRef, View
    from multus.api.request import Pod
    from multus.log import Log

_FIX = "correct what the DRA driver publishes, or the definition's resource name"


class Allocated(NamedTuple):
    """One device of a claim's allocation, as the claim names it."""

    request: str
    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return f"device {self.driver}/{self.pool}/{self.device}"


class Published(NamedTuple):
    """A device's attributes; each is "" when the driver does not publish it."""

    resource: str = ""
    device_id: str = ""


def devices_of(pod: Pod, view: View, log: Log) -> dict[str, list[str]]:
    """The device IDs of the pod's claims, by resource.

    They are sorted in each claim, and claims keep the pod's order.  Raises ``TryAgainLater`` when
    an object cannot be read, a claim has no allocation, a device is in no slice, or a device of an
    extended resource is not the one that the pod's status says.
    """
    wanted = PODS.object(pod.namespace, pod.name)
    wire = view.api.get(wanted, view.deadline)
    if not is_same(wire.get("metadata") or {}, pod.uid):
        raise TryAgainLater(f"{wanted} was replaced: the runtime will drop the request's one")
    status = Reader(wire, str(wanted)).inner("status")
    named = [each.text("resourceClaimName") for each in status.inners("resourceClaimStatuses")]
    extended = status.inner("extendedResourceClaimStatus")
    own = extended.text("resourceClaimName")
    # A claim that the pod lists and that was not needed has no name.
    claims = [name for name in named if name]
    refs = {name: CLAIMS.object(pod.namespace, name) for name in (*claims, *([own] if own else ()))}
    if not refs:
        return {}
    allocated = _allocations(list(refs.values()), view)
    node = Reader(wire, str(wanted)).inner("spec").text("nodeName")
    slices = Slices(view, node)
    groups = [_of_claim(allocated[refs[name]], refs[name], slices, log) for name in claims]
    if own:
        groups += _of_extended(extended, allocated[refs[own]], refs[own], slices)
    found: dict[str, list[str]] = {}
    for group in groups:
        for resource, device in sorted(group):
            found.setdefault(resource, []).append(device)
    return found


def _allocations(claims: Sequence[ObjectRef], view: View) -> dict[ObjectRef, list[Allocated]]:
    """What is allocated to each claim; raises the error of one that cannot be read."""
    found = {}
    for claim, answer in zip(claims, view.api.get_each(claims, view.deadline), strict=True):
        if isinstance(answer, CNIError):
            raise answer
        devices = Reader(answer, str(claim)).inner("status").inner("allocation").inner("devices")
        if devices.raw.get("results") is None:
            raise TryAgainLater(
                f"{claim} has no device allocated", fix="see the claim's status and its driver"
            )
        found[claim] = [
            Allocated(*(each.text(key) for key in Allocated._fields))
            for each in devices.inners("results")
        ]
    return found


def _of_claim(
    allocated: Iterable[Allocated], claim: ObjectRef, slices: Slices, log: Log
) -> list[Published]:
    """The devices of a claim that are for networks: those with both attributes."""
    found = []
    for each in allocated:
        device = slices.find(each, claim)
        if not all(device):
            log.verbose(f"{claim}: {each} is not for a network: {_lack(device)}")
            continue
        found.append(device)
    return found


def _lack(device: Published) -> str:
    return f"it has no attribute {RESOURCE_NAME if device.device_id else DEVICE_ID}"


def _of_extended(
    extended: Reader, allocated: Sequence[Allocated], claim: ObjectRef, slices: Slices
) -> list[list[Published]]:
    """The devices of extended resources, a group for each container.

    The pod's status says which request has which resource.  Every device must be published as one
    of it: it is the only thing that the pod asked for.
    """
    by_container: dict[str, list[Published]] = {}
    for mapping in extended.inners("requestMappings"):
        request, resource = mapping.text("requestName"), mapping.text("resourceName")
        devices = [each for each in allocated if each.request == request]
        if not devices:
            raise TryAgainLater(f"{claim} has no device for request {request!r}", fix=_FIX)
        for each in devices:
            device = slices.find(each, claim)
            if not all(device):
                raise TryAgainLater(
                    f"{claim}: {each} for resource {resource} cannot be used: {_lack(device)}",
                    fix=_FIX,
                )
            if device.resource != resource:
                raise TryAgainLater(
                    f"{claim}: {each} is published as {device.resource}, and request {request!r} of"
                    f" the pod is for {resource}",
                    fix=_FIX,
                )
            by_container.setdefault(mapping.text("containerName"), []).append(device)
    return list(by_container.values())


class Slices:
    """What drivers publish for one node, each driver's slices read once.

    A slice is of one node, or of no certain one (``allNodes``, ``nodeSelector``,
    ``perDeviceNodeSelection``): the scheduler allocated only what this node can reach.
    """

    def __init__(self, view: View, node: str) -> None:
        self._view = view
        self._node = node
        self._known: dict[str, Mapping[tuple[str, str], Published]] = {}
        self._fresh: set[str] = set()
        self._shared: dict[str, Mapping[tuple[str, str], Published]] = {}

    def find(self, wanted: Allocated, claim: ObjectRef) -> Published:
        """The attributes of a device of *claim*; raises ``TryAgainLater`` when no slice has it.

        Without its slice it is unknown whether the device is for a network.  The daemon's cache may
        not have a new slice yet, so the API server is asked before that.
        """
        driver, key = wanted.driver, (wanted.pool, wanted.device)
        if driver not in self._known:
            self._known[driver] = self._read(driver, self._node, fresh=False)
        if key not in self._known[driver] and driver not in self._fresh:
            self._fresh.add(driver)
            self._known[driver] = self._read(driver, self._node, fresh=True)
        if key not in self._known[driver] and driver not in self._shared:
            self._shared[driver] = self._read(driver, "", fresh=True)
        found = self._known[driver].get(key) or self._shared.get(driver, {}).get(key)
        if found is None:
            raise TryAgainLater(
                f"{claim}: {wanted} is in no resource slice of node {self._node!r}, nor in one of"
                " several nodes",
                fix=f"see whether the DRA driver {driver} runs on the node and publishes it",
            )
        return found

    def _read(self, driver: str, node: str, *, fresh: bool) -> dict[tuple[str, str], Published]:
        """The devices in the slices of *node*, or in those that name none."""
        fields = {SLICES.node_field: node, "spec.driver": driver}
        listed = self._view.api.select(SLICES, fields, self._view.deadline, fresh=fresh)
        specs = [Reader(wire, "a resource slice").inner("spec") for wire in listed]
        # While a driver replaces a pool, slices of both generations exist: the newer one counts.
        specs.sort(key=lambda spec: spec.inner("pool").integer("generation"))
        return {
            (spec.inner("pool").text("name"), device.text("name")): _published(device)
            for spec in specs
            for device in spec.inners("devices")
        }


def _published(device: Reader) -> Published:
    attributes: Mapping[str, Any] = device.mapping("attributes")
    return Published(*(_text(attributes.get(each)) for each in (RESOURCE_NAME, DEVICE_ID)))


def _text(attribute: Any) -> str:
    value = attribute.get("string") if isinstance(attribute, Mapping) else None
    return value if isinstance(value, str) else ""
