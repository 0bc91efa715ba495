"""The API objects: their kinds, and their names as the binary makes them.

Source: whereabouts 0.9, ``doc/crds`` and its objects in a cluster.  Blocks are a kind of Multus'
own, which the binary does not know.
"""

from __future__ import annotations

import re

from multus.api.kubernetes import NODES, ApiUse, ObjectRef, Resource

GROUP, VERSION = "whereabouts.cni.cncf.io", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

POOLS = Resource(GROUP, VERSION, "ippools", "address pool")
RESERVATIONS = Resource(
    GROUP, VERSION, "overlappingrangeipreservations", "reservation of an address"
)
#: Parts of a range that a node has for itself.
BLOCKS = Resource("ipam.multus", "v1alpha1", "addressblocks", "address block")

#: What an IPPool has as its range when the range is given out in blocks.  It is not a network, so
#: nobody allocates from the pool: the binary refuses it, and so does the plugin.
_DIVIDED = re.compile(r"(?P<range>\S+) in blocks of /(?P<length>[0-9]{1,3})")

NODE_SLICES = Resource(GROUP, VERSION, "nodeslicepools", "NodeSlicePool")

#: Which daemon frees what pods that are gone have left.
LEASE = Resource("coordination.k8s.io", "v1", "leases", "lease").object(
    "kube-system", "multus-addresses"
)

#: Without its version, an object cannot be written.
_VERSION = ("metadata", "resourceVersion")


def uses() -> list[ApiUse]:
    """What is asked of the API server."""
    from multus_ipam_whereabouts.claims import CLAIMS

    refused = "pods on networks with IPAM of type whereabouts are refused"
    divided = "pods on these networks are refused where the range has 'block'"
    leaked = "addresses of pods that are gone are not freed"
    claimed = "pods that name an IPAMClaim on these networks are refused"
    sliced = "pods on networks with 'node_slice_size' are refused"
    verbs = {
        POOLS: ("get", "list", "watch", "create", "patch"),
        RESERVATIONS: ("get", "list", "watch", "create", "patch", "delete"),
    }
    of_blocks = ("get", "list", "watch", "create", "patch", "delete")
    return [
        *(
            ApiUse(verb, LEASE.resource, leaked, required=False, only=LEASE)
            for verb in ("get", "create", "patch")
        ),
        ApiUse("get", CLAIMS, claimed, required=False),
        ApiUse("patch", CLAIMS, claimed, "status", required=False),
        *(
            _use(verb, kind, refused, (_VERSION, "spec"))
            for kind, chosen in verbs.items()
            for verb in chosen
        ),
        *(_use(verb, BLOCKS, divided, (_VERSION, "spec")) for verb in of_blocks),
        *(_use(verb, NODE_SLICES, sliced, ("spec", "status")) for verb in ("get", "list", "watch")),
        *(ApiUse(verb, NODES, divided, required=False) for verb in ("get", "list")),
    ]


def _use(
    verb: str, kind: Resource, consequence: str, cached: tuple[str | tuple[str, ...], ...]
) -> ApiUse:
    parts = cached if verb == "get" else ()
    return ApiUse(verb, kind, consequence, required=False, cached=parts)


def pool(namespace: str, network: str, network_name: str, node: str = "") -> ObjectRef:
    """The pool of *network*, a range as ``10.1.0.0/24``; *network_name* is "" for the unnamed.

    *node* is whose part of a range it is; "" for a whole one.
    """
    return POOLS.object(namespace, _named(network, network_name, node))


def reservation(namespace: str, address: str, network_name: str) -> ObjectRef:
    """What reserves *address* in all ranges that have it."""
    return RESERVATIONS.object(namespace, _named(address, network_name))


def block(namespace: str, network: str, network_name: str) -> ObjectRef:
    """The block *network*, as ``10.1.0.16/28``, of a range."""
    return BLOCKS.object(namespace, _named(network, network_name))


def divided(network: str, length: int) -> str:
    """What the pool of *network* has as its range when it is given out in blocks of */length*."""
    return f"{network} in blocks of /{length}"


def division_of(text: str) -> tuple[str, int] | None:
    """The range and the length of its blocks, the inverse of `divided`; None for another text."""
    found = _DIVIDED.fullmatch(text)
    return (found["range"], int(found["length"])) if found else None


def name_of(wanted: ObjectRef, network: str) -> str:
    """The network's name in the name of the pool, or block, of *network*; "" for the unnamed."""
    return wanted.name.removesuffix(_named(network, "")).removesuffix("-")


def address_in(name: str, network_name: str) -> str:
    """The address that a reservation of this *name* is for; "" when it is of another network."""
    head = f"{network_name}-" if network_name else ""
    text = name.removeprefix(head)
    if not name.startswith(head):
        return ""
    # An IPv4 address has no dash, an IPv6 address no dot.
    return text if "." in text else text.replace("-", ":")


def _named(text: str, network_name: str, node: str = "") -> str:
    # No object's name may end with a dash.
    whole = f"{text}0" if text.endswith(":") else text
    plain = whole.replace(":", "-").replace("/", "-")
    return "-".join(each for each in (network_name, node, plain) if each)
