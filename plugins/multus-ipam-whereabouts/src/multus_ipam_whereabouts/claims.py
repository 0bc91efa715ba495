"""IPAMClaims: addresses that belong to something that outlives a pod, such as a virtual machine.

The allocation in the pool names the claim in place of a container, so that no container's DEL gives
it back.  Pods that name the claim get its addresses, one after the other or, while a machine moves,
two at a time.

Source: k8snetworkplumbingwg/ipamclaims, v1alpha1; the key ``ipam-claim-reference`` of a network
selection element, which arrives in ``args.cni``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import Change, Edit, ObjectRef, Resource, editing, is_object_name
from multus.api.reader import Reader
from multus.ipam.addresses import Address

if TYPE_CHECKING:
    from multus.api.kubernetes import Api, Deadline
    from multus.api.network import Invocation
    from multus.api.result import IP
    from multus_ipam_whereabouts.conf import Settings

CLAIMS = Resource("k8s.cni.cncf.io", "v1alpha1", "ipamclaims", "IPAMClaim")
_KEY = "ipam-claim-reference"
#: The condition that says whether the claim has its addresses.
_CONDITION = "IPsAllocated"


@frozen
class Claim:
    """The claim that an invocation names; ``pod`` is its pod's name, ``network`` its network's."""

    object: ObjectRef
    pod: str
    network: str

    @classmethod
    def of(cls, invocation: Invocation) -> Claim | None:
        """None when it names none; raises ``InvalidConfig`` for a name that no object has."""
        where = f"network {invocation.config.get('name')!r}"
        args = Reader(invocation.config, where).inner("args").inner("cni")
        name = args.text(_KEY)
        if not name:
            return None
        if not is_object_name(name):
            raise args.error(_KEY, f"is {name!r}, which no object can have as its name")
        namespace = invocation.args.get("K8S_POD_NAMESPACE", "")
        network = str(invocation.config.get("name", ""))
        pod = invocation.args.get("K8S_POD_NAME", "")
        return cls(CLAIMS.object(namespace, name), pod, network)

    @property
    def id(self) -> str:
        """What stands in the pool in place of a container's ID."""
        return f"ipamclaim/{self.object.namespace}/{self.object.name}"

    def require_served(self, settings: Settings) -> None:
        """Raise ``InvalidConfig`` for ranges that no claim can have addresses of."""
        if any(each.block for each in settings.ranges):
            raise InvalidConfig(
                f"{self.object} cannot have an address of a range with 'block': it would have to"
                " stay on one node",
                where=settings.where,
                fix="use a range without 'block'",
            )

    def addresses(self, api: Api, deadline: Deadline) -> list[Address]:
        """The addresses that the claim has; raises ``NotFound``, and ``InvalidConfig``."""
        wire = api.get(self.object, deadline)
        spec, status = (Reader(wire, str(self.object)).inner(key) for key in ("spec", "status"))
        network = spec.text("network")
        if network and network != self.network:
            raise InvalidConfig(
                f"{self.object} is for network {network!r}, not for {self.network!r}",
                fix="name a claim of this network",
            )
        found = (Address.parse(text.partition("/")[0]) for text in status.texts("ips"))
        return [each for each in found if each is not None]

    def bind(self, ips: Sequence[IP]) -> Edit:
        """Write the addresses and this pod into the claim's status."""
        texts = [each.address for each in ips]
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._edit("bind", {"ips": texts, "pod": self.pod, "now": now})

    def unbind(self) -> Edit:
        """Remove this pod from the claim's status."""
        return self._edit("unbind", {"pod": self.pod})

    def _edit(self, function: str, given: Mapping[str, Any]) -> Edit:
        return Edit(self.object, f"{__name__}:{function}", given, "status")


def claim_of(identity: str) -> ObjectRef | None:
    """The claim that stands in place of a container's ID; None for a container."""
    head, _, rest = identity.partition("/")
    namespace, slash, name = rest.partition("/")
    return CLAIMS.object(namespace, name) if head == "ipamclaim" and slash else None


@editing
def bind(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Write ``ips`` and the owner, ``pod``; ``now`` is for the condition."""
    if wire is None:
        raise InvalidConfig("the IPAMClaim was deleted meanwhile", fix="create it again")
    status = wire.get("status") or {}
    others = [each for each in status.get("conditions") or () if each.get("type") != _CONDITION]
    known = [each for each in status.get("conditions") or () if each.get("type") == _CONDITION]
    done = {
        "type": _CONDITION,
        "status": "True",
        "reason": "SuccessfulAllocation",
        "message": "Claim was created",
        "lastTransitionTime": given["now"],
    }
    if known and known[0].get("status") == "True":
        done = known[0]
    wanted = {
        "ips": list(given["ips"]),
        "ownerPod": {"name": given["pod"]},
        "conditions": [*others, done],
    }
    if all(status.get(key) == value for key, value in wanted.items()):
        return Change()
    return Change(patch={"status": wanted})


@editing
def unbind(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Remove the owner when it is ``pod``: a machine that moved has another one by now."""
    owner = ((wire or {}).get("status") or {}).get("ownerPod") or {}
    return Change(
        patch={"status": {"ownerPod": None}} if owner.get("name") == given["pod"] else None
    )
