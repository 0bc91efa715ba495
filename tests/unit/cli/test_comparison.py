"""The comparison with the Go Multus: nothing is left out, and each row has a test that exists."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from multus.cli.upstream.comparison import DIFFERENT, KINDS, ONLY_HERE, SAME, differences, rows

ROOT = Path(__file__).parents[3]

#: What the Go Multus 4.3 has, by kind: facts of its documentation and of its program.
FACTS = {
    "annotation": """
        k8s.v1.cni.cncf.io/networks k8s.v1.cni.cncf.io/network-status
        k8s.v1.cni.cncf.io/resourceName v1.multus-cni.io/default-network
        """,
    "element key": """
        name namespace ips mac infiniband-guid interface interfaceRequest portMappings bandwidth
        deviceID cni-args default-route ipam-claim-reference
        """,
    "configuration key": """
        cniVersion name type capabilities ipam dns prevResult cni.dev/valid-attachments
        runtimeConfig confDir cniDir binDir delegates clusterNetwork defaultNetworks kubeconfig
        logFile logLevel logToStderr logOptions.maxSize logOptions.maxAge logOptions.maxBackups
        logOptions.compress readinessindicatorfile namespaceIsolation globalNamespaces
        auxiliaryCNIChainName systemNamespaces multusNamespace retryDeleteOnError daemonSocketDir
        """,
    "daemon key": """
        chrootDir logFile logLevel logToStderr logOptions socketDir connectionLimit metricsPort
        enablePprof perNodeCertificate.enabled perNodeCertificate.bootstrapKubeconfig
        perNodeCertificate.certDir perNodeCertificate.certDuration binDir capabilities cniVersion
        name clusterNetwork namespaceIsolation globalNamespaces readinessindicatorfile type cniDir
        cniConfigDir auxiliaryCNIChainName daemonSocketDir multusConfigFile multusMasterCNI
        multusAutoconfigDir forceCNIVersion overrideNetworkName
        """,
    "endpoint": "/cni /delegate /healthz /readyz /metrics /debug/pprof/",
    "event": "AddedInterface NoNetworkFound",
    "metric": "multus_server_request_total process_* go_*",
    "file": """
        /etc/cni/net.d/00-multus.conf /etc/cni/net.d/multus.d/multus.kubeconfig
        daemon-config.json /etc/cni/multus/net.d /opt/cni/bin/multus
        /opt/cni/bin/multus-shim /opt/cni/bin/passthru /run/multus/multus.sock
        /var/lib/cni/multus/results/<network>-<container>-<interface>
        """,
}


@pytest.mark.parametrize("kind", FACTS)
def test_everything_of_the_go_program_has_a_row(kind: str) -> None:
    names = [row.name for row in rows() if row.kind == kind]
    if kind == "file":  # rows say which file of that name
        names = [fact for fact in FACTS[kind].split() if any(fact in name for name in names)]
    assert sorted(set(FACTS[kind].split()) - set(names)) == []


def test_rows_have_a_kind_a_verdict_and_say_what_differs() -> None:
    for row in rows():
        assert row.kind in KINDS, row
        assert row.verdict in (SAME, DIFFERENT, ONLY_HERE), row
        assert row.text or row.verdict == SAME, row
        assert "|" not in row.text
    named = [(row.kind, row.name) for row in rows()]
    assert sorted({each for each in named if named.count(each) > 1}) == []


def test_each_row_has_a_test_that_is_collected() -> None:
    """pytest itself says so, for the files that rows name."""
    wanted = {row.test for row in rows()}
    files = sorted({each.partition("::")[0] for each in wanted})
    assert [each for each in files if not (ROOT / each).is_file()] == []
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header", *files]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {line.partition("[")[0] for line in collected.stdout.splitlines()}
    assert sorted(wanted - found) == [], collected.stdout[-2000:]


def test_differences_are_those_keys_that_are_set_and_have_an_effect() -> None:
    different = {row.name for row in rows() if row.kind == "daemon key"}
    assert {"metricsPort", "enablePprof"} <= different
    config = {"metricsport": 9091, "enablePprof": False, "logFile": "/x", "socketDir": None}
    found = list(differences(config, "daemon key"))
    assert [(path, row.name) for path, row in found] == [(("metricsport",), "metricsPort")]


def test_a_difference_that_another_key_removes_is_not_one() -> None:
    two = {"kubeconfig": "/k", "delegates": [{"type": "a"}, {"type": "b"}]}

    def found(config: Mapping[str, object]) -> list[object]:
        return [path for path, _ in differences(config, "configuration key")]

    assert found(two) == [("delegates", 1)]
    assert found({**two, "naming": "npwg"}) == []
    assert found({**two, "delegates": [{"type": "a"}]}) == []
    assert found({"kubeConfig": "/k", "LogLevel": "debug", "cniDir": "/var/lib/cni/multus"}) == []
    isolated = {"namespaceIsolation": True}
    assert [path for path, _ in differences(isolated, "daemon key", "configuration key")] == [
        ("namespaceIsolation",)
    ]
    assert found({"namespaceIsolation": True}) == [("namespaceIsolation",)]
