"""The API objects: their kinds, and their names as the binary makes them.

Source: whereabouts 0.9, ``doc/crds`` and its objects in a cluster.
"""

from __future__ import annotations

from multus.api.kubernetes import ApiUse, ObjectRef, Resource

GROUP, VERSION = "whereabouts.cni.cncf.io", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

POOLS = Resource(GROUP, VERSION, "ippools", "address pool")
RESERVATIONS = Resource(
    GROUP, VERSION, "overlappingrangeipreservations", "reservation of an address"
)

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
    leaked = "addresses of pods that are gone are not freed"
    claimed = "pods that name an IPAMClaim on these networks are refused"
    sliced = "pods on networks with 'node_slice_size' are refused"
    verbs = {
        POOLS: ("get", "list", "watch", "create", "patch"),
        RESERVATIONS: ("get", "list", "watch", "create", "patch", "delete"),
    }
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
        *(_use(verb, NODE_SLICES, sliced, ("spec", "status")) for verb in ("get", "list", "watch")),
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
