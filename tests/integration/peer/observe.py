"""Write down what the Go Multus does with each case.

Run ``python -m integration.peer.observe PROGRAM`` in ``tests/``, as root.  PROGRAM is a built
``multus`` that sends JSON to the API server: the stand-in has no protobuf, which its releases send
since 4.2.  The outcomes go into ``observed.json``, beside this file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from attrs import evolve

from integration.kube.cluster import Cluster
from integration.peer.cases import CASES
from integration.peer.seen import Case, outcome
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Runtime

OBSERVED = Path(__file__).with_name("observed.json")
PLUGINS = ("bridge", "host-local", "macvlan", "ptp", "static", "tuning", "portmap", "bandwidth")


def observed(program: str, case: Case) -> object:
    """The outcome of a case, as JSON: what is seen, or "refused"."""
    node, pod = Node.create(), Netns.create("pod")
    try:
        with tempfile.TemporaryDirectory() as folder, ApiServer(netns=node.path) as api:
            binaries = BinDir(f"{folder}/bin")
            binaries.real(*PLUGINS)
            runtime = Runtime((program,), binaries.path, node)
            # Ours answers for itself, and leaves no engine behind.
            runtime = evolve(runtime, environ={**runtime.environ, "MULTUS_STANDALONE": "1"})
            kubeconfig = api.write_kubeconfig(folder)
            cluster = Cluster(api, runtime, binaries, node, folder, kubeconfig)
            found = outcome(cluster, pod, case)
            return "refused" if isinstance(found, str) else found.to_json()
    finally:
        pod.remove()
        node.remove()


def main(program: str) -> None:
    found = {}
    for case in CASES:
        found[case.name] = observed(program, case)
        print(case.name, flush=True)
    lines = (f" {json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    OBSERVED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
