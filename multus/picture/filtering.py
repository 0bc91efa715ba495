"""The part of a node that a person asks for: by pod, namespace or network."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from multus.picture.model import Node, Parent, Pod

#: More pods than this are not drawn at once.
MOST_PODS = 250
_LONGEST = 253


@frozen
class Wanted:
    """What is asked for; empty texts ask for nothing.

    ``pod`` is a part of ``namespace/name``, of a container's ID or of an address; ``namespace`` and
    ``network`` are whole names.
    """

    pod: str = ""
    namespace: str = ""
    network: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """The wish in an address's query."""
        return cls(*(query.get(key, "")[:_LONGEST] for key in ("pod", "namespace", "network")))

    def to_query(self) -> dict[str, str]:
        """The keys that are not empty."""
        found = {"pod": self.pod, "namespace": self.namespace, "network": self.network}
        return {key: value for key, value in found.items() if value}

    def keeps(self, pod: Pod) -> bool:
        """Whether the pod is asked for, whatever its networks are."""
        if self.namespace and pod.namespace != self.namespace:
            return False
        addresses = [address for each in pod.interfaces for address in each.addresses]
        told = (pod.title, pod.container, *addresses)
        return any(self.pod.lower() in each.lower() for each in told)


def filtered(node: Node, wanted: Wanted) -> Node:
    """*node* with the pods and interfaces that are asked for, and what these are attached to."""
    pods = [pod for pod in node.pods if wanted.keeps(pod)]
    if wanted.network:
        pods = [_on(pod, wanted.network) for pod in pods]
        pods = [pod for pod in pods if pod.interfaces]
    notes = node.notes
    if len(pods) > MOST_PODS:
        notes += (f"only {MOST_PODS} of {len(pods)} pods are drawn: ask for fewer",)
        pods = pods[:MOST_PODS]
    ends = {(each.parent, each.network) for pod in pods for each in pod.interfaces}
    keys = {parent for parent, _ in ends}
    parents = (_with(each, ends) for each in node.parents if each.key in keys)
    return evolve(node, pods=tuple(pods), parents=tuple(parents), notes=notes)


def _on(pod: Pod, network: str) -> Pod:
    kept = tuple(each for each in pod.interfaces if each.network == network)
    return evolve(pod, interfaces=kept)


def _with(parent: Parent, ends: set[tuple[str, str]]) -> Parent:
    kept = tuple(each for each in parent.networks if (parent.key, each.name) in ends)
    return evolve(parent, networks=kept)
