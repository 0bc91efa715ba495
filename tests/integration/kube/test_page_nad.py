"""The output in docs/networks-nad.md is the real one."""

from __future__ import annotations

import json

from integration.kube.cluster import DEPLOY, STATUS, Cluster, manifest
from multus.testing.netns import Netns

PAGE = DEPLOY.parent / "docs" / "networks-nad.md"
EXAMPLES = ("macvlan-nad", "bridge-nad", "pod-nad")


def page() -> str:
    return PAGE.read_text()


def test_the_page_shows_the_files_that_are_tested() -> None:
    for name in EXAMPLES:
        assert (DEPLOY / "examples" / f"{name}.yaml").read_text().strip() in page(), name


def test_the_page_shows_what_the_pod_got(cluster: Cluster, cni_pod: Netns) -> None:
    for name in EXAMPLES:
        for wire in manifest(f"examples/{name}.yaml"):
            # bridge-b uses the default dataDir on users' clusters; the test uses a temporary one.
            text = json.dumps(wire)
            store = f'\\"dataDir\\": \\"{cluster.folder}/ipam\\", \\"subnet\\": \\"10.2.0.0/24\\"'
            text = text.replace('\\"subnet\\": \\"10.2.0.0/24\\"', store)
            stored = cluster.api.create(json.loads(text))
    uid = stored["metadata"]["uid"]
    container = cluster.container(cni_pod, "web", "default", uid)
    cluster.add(cluster.default(), container).require()
    interfaces = cluster.shown(cni_pod)
    chance = cni_pod.links()["eth0"].mac, cni_pod.links()["lan0"].mac
    status = cluster.annotations()[STATUS]
    for mac in chance:
        status = status.replace(mac, "…")
    events = "\n".join(f"{kind} {reason} {message}" for kind, reason, message in cluster.events())
    for block in (interfaces, status, events):
        assert block in page(), f"docs/networks-nad.md does not show:\n{block}"
