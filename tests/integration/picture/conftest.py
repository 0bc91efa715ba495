"""A node with real pods, whose page is served."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from waiting import PATIENCE

from multus.picture.following import Following
from multus.picture.page import NodePage
from multus.picture.serving import Server, listening, url
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node, inside
from multus.testing.runtime import Container, Runtime

Pods = Callable[[], Netns]


@define
class Served:
    """A node and its page.  The page's port is the machine's, what it shows is the node's."""

    node: Node
    runtime: Runtime
    folder: Path
    pods: Pods
    url: str = ""
    made: list[Netns] = field(factory=list)

    def conf(self, *types: str) -> dict[str, Any]:
        """Multus' configuration with the networks ``lan``, ``storage`` and ``control``."""

        def local(subnet: str) -> dict[str, Any]:
            return {"type": "host-local", "subnet": subnet, "dataDir": f"{self.folder}/networks"}

        lan = {"name": "lan", "type": "bridge", "bridge": "br0", "isGateway": True}
        networks = {
            "bridge": {**lan, "ipam": local("10.88.0.0/24")},
            "macvlan": {
                "name": "storage",
                "type": "macvlan",
                "master": "uplink",
                "ipam": local("192.0.2.0/29"),
            },
            "ptp": {"name": "control", "type": "ptp", "ipam": local("10.89.0.0/24")},
        }
        return {
            "cniVersion": "1.0.0",
            "name": "node-net",
            "type": "multus",
            "cniDir": f"{self.folder}/state",
            "warmSeconds": 0,
            "delegates": [networks[each] for each in types],
        }

    def attach(self, name: str, *types: str) -> Container:
        """A pod ``shop/NAME`` on these networks."""
        pod = self.pods()
        self.made.append(pod)
        args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}"
        container = Container(pod.path, args=args)
        self.runtime.add(self.conf(*types), container).require()
        return container

    def parts(self, query: str = "") -> dict[str, str]:
        """The parts of the page, as its script gets them."""
        host = self.url.removeprefix("http://").removesuffix("/")
        with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as peer:
            peer.request("GET", f"/parts?{query}")
            found: dict[str, str] = json.loads(peer.getresponse().read())["parts"]
            return found


@pytest.fixture
def served(
    tmp_path: Path, cni_node: Node, cni_bin: BinDir, cni_runtime: Runtime, cni_pods: Pods
) -> Iterator[Served]:
    cni_bin.real("bridge", "macvlan", "ptp", "host-local")
    cni_node.bridge("br0", "10.88.0.1/24")
    found = Served(cni_node, cni_runtime, tmp_path, cni_pods)
    listener = listening("127.0.0.1:0")
    found.url = url(listener)
    servers: list[Server] = []
    begun = threading.Event()

    def serve() -> None:
        with inside(cni_node):
            following = Following(f"{tmp_path}/state", "worker-1")
            servers.append(Server(listener, NodePage(following.look).answer, [following]))
            begun.set()
            servers[0].run()
            following.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert begun.wait(PATIENCE)
    yield found
    servers[0].stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()
