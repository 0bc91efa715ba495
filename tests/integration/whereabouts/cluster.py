"""Nodes of a cluster, without daemons, beside one API server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus import ipam
from multus.api.ipam import Ipam
from multus.api.result import Result
from multus.testing.apiserver import ApiServer
from multus.testing.invocation import Caller

#: What is asked of the binary and of this plugin alike.
RANGE: Mapping[str, Any] = {"type": "whereabouts", "range": "10.7.0.0/24"}


@frozen
class Node:
    """A node without a daemon, beside an API server."""

    api: ApiServer
    kubeconfig: str
    cni_dir: str

    def pool(self, verb: str = "ADD", pod: str = "web", **options: Any) -> Ipam:
        """What an invoker gets.

        *options*: ``container``, ``ifname``, ``prev``, ``session``, keys of ipam.
        """
        ifname, prev = options.pop("ifname", "net1"), options.pop("prev", None)
        session = options.pop("session", None)
        given = {"capabilities": options.pop("capabilities", {})}
        runtime, claim = options.pop("runtime", None), options.pop("claim", "")
        caller = Caller(
            container_id=options.pop("container", f"c-{pod}"),
            ifname=ifname,
            args=options.pop("args", f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"),
            conf={"kubeconfig": self.kubeconfig, "cniDir": self.cni_dir, "apiTimeout": 5},
        )
        config = {"type": "macvlan", "ipam": {**RANGE, **options}, **given}
        if claim:
            config["args"] = {"cni": {"ipam-claim-reference": claim}}
        if runtime is not None:
            config["runtimeConfig"] = runtime
        pool = ipam.for_plugin(caller.invocation(verb, config, prev, session=session))
        assert pool is not None and pool.name == "whereabouts", pool
        return pool

    def add(self, pod: str = "web", **options: Any) -> Result:
        return self.pool("ADD", pod, **options).add()

    def addresses(self, pod: str = "web", **options: Any) -> list[str]:
        return [ip.address for ip in self.add(pod, **options).ips]

    def delete(self, pod: str = "web", **options: Any) -> None:
        self.pool("DEL", pod, **options).delete()

    def register(self, name: str = "") -> None:
        """Have the API server know this node; a node without a daemon has the host's name."""
        name = name or os.uname().nodename
        self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})

    def blocks(self) -> dict[str, str]:
        """The blocks that nodes have: the store of each."""
        found = self.stored("addressblocks", "ipam.multus")
        return {name: each["spec"]["store"] for name, each in found.items()}

    def stored(
        self, plural: str, group: str = "whereabouts.cni.cncf.io"
    ) -> dict[str, dict[str, Any]]:
        """The objects of a kind by name."""
        kind = self.api.store.kind(group, "v1alpha1", plural)
        assert kind is not None
        found = self.api.store.objects(kind, "kube-system", ())
        return {each["metadata"]["name"]: each for each in found}

    def allocations(self, name: str = "10.7.0.0-24") -> dict[str, str]:
        """Who has which distance in a pool."""
        found = self.stored("ippools").get(name)
        allocations = found["spec"]["allocations"] if found else {}
        return {key: f"{each['podref']} {each['ifname']}" for key, each in allocations.items()}

    def requests(self, *methods: str) -> int:
        counted = self.api.requests.items()
        return sum(n for (method, path), n in counted if method in methods and "where" in path)
