"""Each key and option of the Go Multus: carried over, replaced by what is named, or refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from integration.cli.conftest import MadeUpNode
from integration.peer.left import DAEMON_CONFIG, UNREADABLE
from multus.cli.commands.install.older import carrying
from multus.cli.upstream import known
from multus.cli.upstream.carrying import Carried, Carrying
from multus.cli.upstream.comparison import DIFFERENT, rows
from multus.daemon.settings import problems
from multus.registry.index import discover
from multus.registry.loading import load

#: A value of each key that the program's configuration can have.
OF_NETCONF: Mapping[str, Any] = {
    "cniVersion": "0.4.0",
    "cniVersions": ["0.4.0", "1.0.0"],
    "name": "node",
    "type": "multus",
    "capabilities": {"portMappings": True},
    "disableCheck": True,
    "disableGC": True,
    "ipam": {"type": "host-local"},
    "dns": {"nameservers": ["10.0.0.1"]},
    "prevResult": {"cniVersion": "0.4.0"},
    "runtimeConfig": {"mac": "02:00:00:00:00:01"},
    "confDir": "/etc/cni/multus/net.d",
    "cniDir": "/var/lib/cni/multus",
    "binDir": "/opt/cni/bin",
    "delegates": [{"type": "bridge"}],
    "clusterNetwork": "/etc/cni/net.d/10-lan.conf",
    "defaultNetworks": ["a", "b"],
    "kubeconfig": "/etc/kubernetes/kubelet.conf",
    "logFile": "/var/lib/cni/multus.log",
    "logLevel": "debug",
    "logToStderr": False,
    "logOptions": {"maxAge": 1},
    "readinessindicatorfile": "/run/multus/ready",
    "namespaceIsolation": True,
    "globalNamespaces": "default",
    "auxiliaryCNIChainName": "chain",
    "systemNamespaces": ["kube-system"],
    "multusNamespace": "kube-system",
    "retryDeleteOnError": True,
}
#: The keys that only the daemon's file has.
OF_DAEMON: Mapping[str, Any] = {
    "chrootDir": "/hostroot",
    "perNodeCertificate": {"enabled": True, "bootstrapKubeconfig": "/b", "certDir": "/c"},
    "connectionLimit": 10,
    "metricsPort": 9091,
    "enablePprof": True,
    "socketDir": "/host/run/multus",
    "cniConfigDir": "/host/etc/cni/net.d",
    "multusConfigFile": "auto",
    "multusMasterCNI": "10-lan.conf",
    "multusAutoconfigDir": "/host/etc/cni/net.d",
    "daemonSocketDir": "/run/multus",
    "forceCNIVersion": True,
    "overrideNetworkName": True,
}
#: Each option of the thin entrypoint that writes a key.
WRITES: Mapping[str, str] = {
    "cni-version": "cniVersion",
    "force-cni-version": "cniVersion",
    "override-network-name": "name",
    "multus-cni-conf-dir": "cniConf",
    "multus-kubeconfig-file-host": "kubeconfig",
    "skip-tls-verify": "kubeconfig",
    "multus-master-cni-file-name": "delegates",
    "multus-autoconfig-dir": "delegates",
    "rename-conf-file": "delegates",
    "namespace-isolation": "namespaceIsolation",
    "global-namespaces": "globalNamespaces",
    "multus-log-to-stderr": "logToStderr",
    "multus-log-level": "logLevel",
    "multus-log-file": "logFile",
    "readiness-indicator-file": "readinessindicatorfile",
    "additional-bin-dir": "binDir",
}
#: Each of the others, and the option of 'multus install' that does it.
DOES: Mapping[str, str] = {
    "cni-bin-dir": "--bin-dir",
    "cni-conf-dir": "--net-d",
    "multus-conf-file": "--conf",
    "multus-bin-file": "--program",
    "skip-multus-binary-copy": "--program",
    "skip-config-watch": "--watch",
    # What is installed stays until 'multus uninstall'.
    "cleanup-config-on-exit": "--watch",
}
#: Without a meaning for Multus itself.
WITHOUT_EFFECT = {"ipam", "dns", "cniConf"}
#: Given by the runtime with every call, whatever the file says.
OF_THE_CALL = {"type", "prevResult", "runtimeConfig"}


def carried(raw: Mapping[str, Any], *, daemon: bool) -> Carried:
    return carrying(load(discover()), in_pod=True).of(raw, in_container=daemon)


def named(found: Carried) -> set[str]:
    """The keys that the outcome names: carried over, replaced, or refused."""
    said = {line.partition(":")[0] for line in found.notes}
    return {*found.conf, *found.daemon, *said, *(str(each.path[0]) for each in found.refused)}


@pytest.mark.parametrize("name", OF_NETCONF)
def test_each_key_of_the_programs_configuration_is_accounted_for(name: str) -> None:
    found = carried({name: OF_NETCONF[name]}, daemon=False)
    assert name in known.KEYS
    assert name in named(found) or name in OF_THE_CALL
    if name in found.conf:
        assert found.conf[name] == OF_NETCONF[name]


@pytest.mark.parametrize("name", OF_DAEMON)
def test_each_key_of_the_daemons_settings_is_accounted_for(name: str) -> None:
    found = carried({name: OF_DAEMON[name]}, daemon=True)
    assert name in known.KEYS
    # The usual socket, and where the primary is looked for, need no key here.
    assert name in named(found) or name in ("socketDir", "overrideNetworkName")
    assert name != "overrideNetworkName" or found.conf == {name: True}


@pytest.mark.parametrize("option", WRITES)
def test_what_an_option_of_the_thin_entrypoint_writes_is_accounted_for(option: str) -> None:
    name = WRITES[option]
    value = OF_NETCONF.get(name, "/host/etc/cni/multus/net.d")
    found = carried({name: value}, daemon=False)
    assert name in named(found)
    assert found.refused == ()


@pytest.mark.parametrize("option", DOES)
def test_every_other_option_of_the_thin_entrypoint_is_one_of_the_installer(
    made_up: MadeUpNode, option: str
) -> None:
    assert DOES[option] in made_up.run("install", "--help").stdout


def test_the_table_has_no_key_that_the_go_multus_has_not() -> None:
    assert set(known.KEYS) == {*OF_NETCONF, *OF_DAEMON, "cniConf", "args"}


def test_the_comparison_with_the_go_multus_says_the_same() -> None:
    found = [row for row in rows() if row.kind in ("configuration key", "daemon key")]
    named = {row.name.partition(".")[0] for row in found}
    assert sorted(known.KEYS.keys() - named) == []
    refused = {name for name, key in known.KEYS.items() if key.fate == known.REFUSED}
    assert refused <= {row.name for row in found if row.verdict == DIFFERENT}


def test_what_has_no_effect_there_is_left_out_and_said() -> None:
    found = carried({**dict.fromkeys(WITHOUT_EFFECT, "x"), "myOwnKey": 1}, daemon=False)
    assert found.conf == {}
    assert named(found) == {*WITHOUT_EFFECT, "myOwnKey"}


def test_the_bootstrap_credentials_are_those_of_the_node() -> None:
    keys = {"enabled": True, "bootstrapKubeconfig": "/var/lib/kubelet/kubeconfig"}
    rules = Carrying(own=(), served=("perNodeCertificate",), in_pod=True)
    raw = {"perNodeCertificate": {**keys, "certDuration": "24h"}}
    given = rules.of(raw, in_container=True).daemon["perNodeCertificate"]
    assert given == {
        "enabled": True,
        "bootstrapKubeconfig": "/host/var/lib/kubelet/kubeconfig",
        "certDuration": "24h",
    }


@pytest.mark.parametrize(
    ("folder", "link", "refused"),
    [
        ("/host/run/multus/", None, []),
        ("/host/run/multus/socket", "/run/multus/socket", []),
        ("/host/run/other", "/run/other", ["socketDir"]),
    ],
)
def test_another_folder_of_the_socket_gets_a_link(
    folder: str, link: str | None, refused: list[str]
) -> None:
    found = carried({"socketDir": folder}, daemon=True)
    assert found.daemon.get("socketLinkDir") == link
    assert [each.path[0] for each in found.refused] == refused


def test_paths_are_those_that_the_daemon_sees() -> None:
    paths = {
        "readinessindicatorfile": "/host/run/flannel/subnet.env",
        "logFile": "/hostroot/var/log/multus.log",
        "confDir": "/host/etc/cni/multus/net.d",
        "clusterNetwork": "/host/etc/cni/net.d/10-lan.conf",
    }
    found = carried({"chrootDir": "/hostroot", **paths}, daemon=True)
    assert found.conf == {
        "readinessindicatorfile": "/host/run/flannel/subnet.env",
        "logFile": "/host/var/log/multus.log",
        "confDir": "/etc/cni/multus/net.d",
        "clusterNetwork": "/etc/cni/net.d/10-lan.conf",
    }
    assert found.daemon == {"chrootDir": "/host", "logFile": "/host/var/log/multus.log"}


@pytest.mark.parametrize("name", ["clusterNetwork", "cniDir"])
def test_a_path_that_the_containers_do_not_see_is_refused(name: str) -> None:
    (problem,) = carried({name: "/srv/cni/x"}, daemon=False).refused
    assert problem.path == (name,)


# --- multus convert -------------------------------------------------------------------------------


def convert(made_up: MadeUpNode, text: str) -> subprocess.CompletedProcess[str]:
    return made_up.run("convert", "-f", made_up.write("given.yaml", text))


def files(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The files in the ConfigMap that was written."""
    wire = yaml.safe_load(done.stdout)
    assert (wire["kind"], wire["metadata"]["name"]) == ("ConfigMap", "multus-python")
    return {name: json.loads(text) for name, text in wire["data"].items()}


def test_daemon_config_becomes_the_settings_of_the_daemonset(made_up: MadeUpNode) -> None:
    given = {**DAEMON_CONFIG, "metricsPort": 9091, "namespaceIsolation": True}
    done = convert(made_up, json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert files(done) == {
        "daemon.json": {
            "cniDir": "/var/lib/cni/multus",
            "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
            "chrootDir": "/host",
            "logLevel": "verbose",
            "logToStderr": True,
            "metricsPort": 9091,
        },
        "multus.json": {
            "cniVersion": "0.3.1",
            "logLevel": "verbose",
            "logToStderr": True,
            "namespaceIsolation": True,
        },
    }
    assert "# multusConfigFile:" in done.stdout


def test_settings_with_a_primary_and_a_socket_of_their_own_are_converted(
    made_up: MadeUpNode,
) -> None:
    """In the form that OpenShift's operator writes."""
    given = {
        "cniVersion": "0.3.1",
        "chrootDir": "/hostroot",
        "binDir": "/var/lib/cni/bin",
        "cniConfigDir": "/host/etc/cni/net.d",
        "multusConfigFile": "auto",
        "multusAutoconfigDir": "/host/run/multus/cni/net.d",
        "namespaceIsolation": True,
        "globalNamespaces": "default,openshift-multus",
        "readinessindicatorfile": "/host/run/multus/cni/net.d/10-ovn-kubernetes.conf",
        "daemonSocketDir": "/run/multus/socket",
        "socketDir": "/host/run/multus/socket",
        "auxiliaryCNIChainName": "vendor-cni-chain",
    }
    done = convert(made_up, json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert files(done)["multus.json"] == {
        "cniVersion": "0.3.1",
        "binDir": "/var/lib/cni/bin",
        "namespaceIsolation": True,
        "globalNamespaces": "default,openshift-multus",
        "readinessindicatorfile": "/run/multus/cni/net.d/10-ovn-kubernetes.conf",
        "auxiliaryCNIChainName": "vendor-cni-chain",
        "clusterNetwork": "/run/multus/cni/net.d",
    }
    assert files(done)["daemon.json"]["socketLinkDir"] == "/run/multus/socket"


def test_a_config_map_is_converted_in_its_namespace(made_up: MadeUpNode) -> None:
    wire = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "multus-daemon-config", "namespace": "openshift-multus"},
        "data": {"daemon-config.json": json.dumps(DAEMON_CONFIG)},
    }
    done = convert(made_up, yaml.safe_dump(wire))
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["metadata"]["namespace"] == "openshift-multus"
    assert files(done)["multus.json"]["cniVersion"] == "0.3.1"


def test_what_cannot_be_converted_is_named(made_up: MadeUpNode) -> None:
    done = convert(made_up, json.dumps({**DAEMON_CONFIG, "enablePprof": True}))
    assert done.returncode == 1
    assert "enablePprof" in done.stderr
    assert "# enablePprof" in done.stdout


def test_other_config_maps_are_copied_unchanged(made_up: MadeUpNode) -> None:
    wire = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}
    done = convert(made_up, yaml.safe_dump(wire))
    assert (done.returncode, yaml.safe_load(done.stdout)) == (0, wire)


def test_values_that_the_daemon_could_not_read_are_named_and_left_out(made_up: MadeUpNode) -> None:
    done = convert(made_up, json.dumps({**DAEMON_CONFIG, **UNREADABLE}))
    assert done.returncode == 1
    assert "'connectionLimit' is 0: use a whole number from 1 to 65536" in done.stderr
    assert "'perNodeCertificate.certDuration' is 5m, not 10m to 8760h: write" in done.stderr
    written = files(done)
    assert not problems(written["daemon.json"])
    assert not UNREADABLE.keys() & {*written["daemon.json"], *written["multus.json"]}
