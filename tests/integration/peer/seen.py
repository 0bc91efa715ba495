"""What became of a pod: what a user of either program can see."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import asdict, field, frozen

from integration.kube.cluster import Cluster
from multus.testing.netns import Netns

#: A hardware address that a program or the kernel chose by chance.
ANY = "any"


@frozen
class Case:
    """A pod on a node; *build* creates what its annotation names.

    *networks* is the annotation, as text or to be written as JSON, None for none. *conf* changes
    keys of the node's configuration; a function is called with the cluster.
    """

    name: str
    networks: Any
    build: Callable[[Cluster], None] = lambda cluster: None
    conf: Mapping[str, Any] | Callable[[Cluster], Mapping[str, Any]] = field(factory=dict)
    annotations: Mapping[str, Any] = field(factory=dict)
    namespace: str = "default"

    def keys(self, cluster: Cluster) -> dict[str, Any]:
        return dict(self.conf(cluster) if callable(self.conf) else self.conf)


@frozen
class Seen:
    """Addresses and the requested hardware address of each interface, devices of default routes,
    and of the status: network, interface, addresses, and whether it is the default."""

    interfaces: dict[str, list[str]]
    defaults: list[str]
    status: list[tuple[str, str, tuple[str, ...], bool]]
    macs: dict[str, str]

    @classmethod
    def of(cls, cluster: Cluster, pod: Netns, case: Case) -> Seen:
        links = {name: link for name, link in pod.links().items() if name != "lo"}
        return cls(
            {name: pod.addresses(name) for name in sorted(links)},
            sorted({each["dev"] for each in pod.ip("-4", "route", "show", "default") or []}),
            [
                (
                    each["name"],
                    each.get("interface", ""),
                    tuple(each.get("ips", ())),
                    bool(each.get("default")),
                )
                for each in cluster.status(namespace=case.namespace)
            ],
            {name: link.mac for name, link in links.items() if link.mac.startswith("02:00:00:")},
        )

    def to_json(self) -> Any:
        """The same, made of what JSON has."""
        return json.loads(json.dumps(asdict(self)))


def outcome(cluster: Cluster, pod: Netns, case: Case) -> Seen | str:
    """What an ADD brings, or how it is refused; a DEL leaves nothing of either."""
    case.build(cluster)
    annotations = dict(case.annotations)
    if case.networks is not None:
        text = case.networks if isinstance(case.networks, str) else json.dumps(case.networks)
        annotations["k8s.v1.cni.cncf.io/networks"] = text
    container = cluster.pod(pod, annotations, namespace=case.namespace)
    changed = {**cluster.default(), **case.keys(cluster)}
    conf = {key: value for key, value in changed.items() if value is not None}
    for delegate in conf.get("delegates", ()):
        delegate["cniVersion"] = "1.0.0"
    answer = cluster.add(conf, container)
    found = Seen.of(cluster, pod, case) if answer.status == 0 else str(answer.error["msg"])
    cluster.delete(conf, container, answer.json if answer.status == 0 else None).require()
    assert [name for name in pod.links() if name != "lo"] == []
    return found
