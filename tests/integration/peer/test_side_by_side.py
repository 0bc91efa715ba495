"""Each case ends as it ended with the Go Multus, except where this program is better on purpose."""

from __future__ import annotations

import json

import pytest

from integration.kube.cluster import Cluster
from integration.peer.cases import CASES
from integration.peer.observe import OBSERVED
from integration.peer.seen import Case, outcome
from multus.testing.netns import Netns

#: Why a case ends otherwise here; the case must differ.
DIFFERENT = {
    "ports without protocol, portmap": "the protocol is tcp; the Go program's portmap fails",
    "ports with an empty protocol, portmap": "the protocol is tcp; the Go program's portmap fails",
    "default-route": "the default route moves, as asked; the Go program leaves the old one",
    "empty default-route": "the network's own gateway is used; the Go program leaves the old one",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_ends_as_with_the_go_multus(case: Case, cluster: Cluster, cni_pod: Netns) -> None:
    theirs = json.loads(OBSERVED.read_text())[case.name]
    found = outcome(cluster, cni_pod, case)
    ours = "refused" if isinstance(found, str) else found.to_json()
    if case.name in DIFFERENT:
        assert ours != theirs, "it is the same by now"
        assert ours != "refused"
    else:
        assert ours == theirs, found
