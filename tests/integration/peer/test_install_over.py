"""'multus install' on a node that runs the Go Multus: every setting stays, or is named."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.cli.conftest import MadeUpNode
from integration.peer import left
from multus.testing.netns import Netns
from multus.testing.runtime import Container, Runtime

SEPARATE = {
    "namespaceIsolation": True,
    "globalNamespaces": "default,shared",
    "logToStderr": False,
    "logLevel": "verbose",
    "logFile": "/var/log/multus.log",
    "binDir": "/opt/more/bin",
    "readinessindicatorfile": "/run/lan/ready",
}


def install(
    made_up: MadeUpNode, *arguments: str, kubeconfig: bool = True
) -> subprocess.CompletedProcess[str]:
    given = ["--kubeconfig", str(made_up.kubeconfig("own.kubeconfig"))] if kubeconfig else []
    return made_up.run(
        "install",
        *("--net-d", made_up.folder / "net.d", "--bin-dir", made_up.bin.path),
        *("--daemon-settings", made_up.folder / "multus" / "daemon.json"),
        *given,
        *arguments,
    )


def installed(made_up: MadeUpNode) -> dict[str, Any]:
    """The configuration in place."""
    whole = json.loads((made_up.folder / "net.d" / "00-multus.conflist").read_text())
    assert isinstance(whole, dict)
    return whole


def plugin(made_up: MadeUpNode) -> dict[str, Any]:
    (found,) = installed(made_up)["plugins"]
    assert isinstance(found, dict)
    return found


def uninstall(made_up: MadeUpNode) -> None:
    folders = ("--net-d", made_up.folder / "net.d", "--cni-dir", made_up.folder / "state")
    done = made_up.run("uninstall", *folders)
    assert done.returncode == 0, done.stderr


def tree(*folders: Path | str) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode & 0o777, path.read_bytes())
        for folder in folders
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def well(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stderr


# --- The thin plugin ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.3.1", "1.0.0"])
def test_every_key_of_the_thin_plugin_is_carried_over(made_up: MadeUpNode, version: str) -> None:
    master = left.lan(made_up, cniVersion=version)
    left.thin(made_up, master, **SEPARATE)
    well(install(made_up))
    assert {key: plugin(made_up)[key] for key in SEPARATE} == SEPARATE
    assert plugin(made_up)["clusterNetwork"] == str(made_up.folder / "net.d" / "10-lan.conflist")
    assert plugin(made_up)["capabilities"] == {"portMappings": True}
    assert "delegates" not in plugin(made_up)
    assert installed(made_up)["cniVersion"] == version
    assert not (made_up.folder / "net.d" / "00-multus.conf").exists()


@pytest.mark.parametrize("version", ["0.3.1", "1.0.0"])
def test_uninstall_restores_the_thin_plugin_to_the_byte(made_up: MadeUpNode, version: str) -> None:
    left.thin(made_up, left.lan(made_up, cniVersion=version), **SEPARATE)
    before = tree(made_up.folder / "net.d", made_up.bin.path)
    well(install(made_up))
    assert tree(made_up.folder / "net.d", made_up.bin.path) != before
    uninstall(made_up)
    assert tree(made_up.folder / "net.d", made_up.bin.path) == before


def test_settings_stay_when_it_is_installed_again(made_up: MadeUpNode) -> None:
    left.thin(made_up, left.lan(made_up), **SEPARATE)
    well(install(made_up))
    before = tree(made_up.folder / "net.d")
    assert "wrote" not in well(install(made_up))
    assert tree(made_up.folder / "net.d") == before
    # A change of the cluster's network is followed, with the same settings.
    left.lan(made_up, cniVersion="0.4.0")
    well(install(made_up))
    assert plugin(made_up)["clusterNetwork"] == str(made_up.folder / "net.d" / "10-lan.conflist")
    assert {key: plugin(made_up)[key] for key in SEPARATE} == SEPARATE
    assert installed(made_up)["cniVersion"] == "0.4.0"


def test_a_default_network_whose_file_is_gone_is_not_replaced_by_the_next_one(
    made_up: MadeUpNode,
) -> None:
    left.thin(made_up, left.lan(made_up))
    well(install(made_up))
    (made_up.folder / "net.d" / "10-lan.conflist").unlink()
    left.lan(made_up, "20-other.conflist")
    before = tree(made_up.folder / "net.d")
    done = install(made_up)
    assert done.returncode == 1
    assert "10-lan.conflist does not exist" in done.stderr and "--primary" in done.stderr
    assert tree(made_up.folder / "net.d") == before


def test_the_network_whose_file_was_renamed_stays_the_default(made_up: MadeUpNode) -> None:
    """With --rename-conf-file, its only copy is in the Go Multus' configuration."""
    master = left.lan(made_up)
    left.thin(made_up, master)
    net_d = made_up.folder / "net.d"
    os.rename(net_d / "10-lan.conflist", net_d / "10-lan.conflist.old")
    made_up.write("net.d/99-other.conf", {"cniVersion": "1.0.0", "name": "o", "type": "ptp"})
    well(install(made_up))
    assert plugin(made_up)["delegates"] == [master]
    assert "clusterNetwork" not in plugin(made_up)


def test_delegates_written_by_hand_keep_their_interface_names(made_up: MadeUpNode) -> None:
    networks = [{"type": "ptp", "name": "a"}, {"type": "ptp", "name": "b"}]
    conf = {"name": "own", "type": "multus", "cniVersion": "0.3.1", "delegates": networks}
    made_up.write("net.d/70-multus.conf", conf)
    made_up.bin.file("multus", b"\x7fELF of the Go Multus")
    well(install(made_up))
    assert plugin(made_up)["delegates"] == networks
    assert plugin(made_up)["naming"] == "npwg"
    assert plugin(made_up)["defaultRoute"] == "last"
    assert installed(made_up)["name"] == "own"
    assert not (made_up.folder / "net.d" / "70-multus.conf").exists()


def test_keys_in_any_letter_case_are_carried_over(made_up: MadeUpNode) -> None:
    left.thin(made_up, left.lan(made_up), NamespaceIsolation=True, GlobalNamespaces="a")
    well(install(made_up))
    assert plugin(made_up)["namespaceIsolation"] is True
    assert plugin(made_up)["globalNamespaces"] == "a"


def test_plugins_behind_multus_in_its_list_stay(made_up: MadeUpNode) -> None:
    path = left.thin(made_up, left.lan(made_up))
    whole = json.loads(path.read_text())
    whole["plugins"].append({"type": "tuning", "mtu": 1400})
    path.write_text(json.dumps({**whole, "disableCheck": True}))
    well(install(made_up))
    assert [each["type"] for each in installed(made_up)["plugins"]] == ["multus", "tuning"]
    assert installed(made_up)["disableCheck"] is True


def test_names_of_definitions_and_namespaces_are_carried_over(made_up: MadeUpNode) -> None:
    keys = {
        "clusterNetwork": "cluster-nad",
        "defaultNetworks": ["storage"],
        "systemNamespaces": ["kube-system", "ops"],
        "multusNamespace": "net",
        "confDir": "/etc/cni/other",
        "cniDir": str(made_up.folder / "state"),
        "logOptions": {"maxSize": 5},
    }
    conf = {"name": "own", "type": "multus", "cniVersion": "0.3.1", **keys}
    made_up.write("net.d/00-multus.conf", conf)
    well(install(made_up))
    assert {key: plugin(made_up)[key] for key in keys} == keys


def test_a_configuration_without_a_version_stays_one(made_up: MadeUpNode) -> None:
    """As in the example of the Go Multus' ConfigMap, which is copied to 70-multus.conf."""
    chain = [{"type": "bridge"}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    networks = [{"cniVersion": "0.3.1", "name": "default-cni-network", "plugins": chain}]
    conf = {
        "name": "multus-cni-network",
        "type": "multus",
        "capabilities": {"portMappings": True},
        "delegates": networks,
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
    }
    made_up.write("net.d/70-multus.conf", conf)
    well(install(made_up))
    assert plugin(made_up)["delegates"] == networks
    assert installed(made_up)["cniVersion"] == "0.1.0"


def test_in_a_pod_the_service_account_takes_the_place_of_its_kubeconfig(
    made_up: MadeUpNode,
) -> None:
    path = made_up.folder / "net.d" / "multus.d" / "multus.kubeconfig"
    left.thin(made_up, left.lan(made_up), kubeconfig=str(path))
    before = tree(made_up.folder / "net.d")
    for name in ("token", "ca.crt"):
        made_up.write(f"account/{name}", name)
    done = made_up.run(
        "install",
        *("--net-d", made_up.folder / "net.d", "--bin-dir", made_up.bin.path),
        *("--service-account", made_up.folder / "account"),
        environ={"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"},
    )
    well(done)
    assert plugin(made_up)["kubeconfig"] == str(path)
    assert "its-token" not in path.read_text()
    uninstall(made_up)
    assert tree(made_up.folder / "net.d") == before


def test_credentials_that_end_with_its_pod_are_refused(made_up: MadeUpNode) -> None:
    kubeconfig = str(made_up.folder / "net.d" / "multus.d" / "multus.kubeconfig")
    left.thin(made_up, left.lan(made_up), kubeconfig=kubeconfig)
    before = tree(made_up.folder / "net.d")
    done = install(made_up, kubeconfig=False)
    assert done.returncode == 1
    assert "kubeconfig" in done.stderr and "--kubeconfig" in done.stderr
    assert tree(made_up.folder / "net.d") == before


def test_another_kubeconfig_is_carried_over(made_up: MadeUpNode) -> None:
    path = str(made_up.kubeconfig("node.kubeconfig"))
    left.thin(made_up, left.lan(made_up), kubeconfig=path)
    well(install(made_up, kubeconfig=False))
    assert plugin(made_up)["kubeconfig"] == path


# --- The thick plugin -----------------------------------------------------------------------------


def test_the_shims_configuration_is_never_the_default_network(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    made_up.write("net.d/multus.d/daemon-config.json", left.daemon_config(made_up))
    well(install(made_up))
    assert plugin(made_up)["clusterNetwork"] == str(made_up.folder / "net.d" / "10-lan.conflist")
    assert plugin(made_up)["type"] == "multus"
    assert installed(made_up)["cniVersion"] == "0.3.1"
    assert not (made_up.folder / "net.d" / "00-multus.conf").exists()


def test_settings_of_the_daemon_that_are_not_on_the_node_are_asked_for(
    made_up: MadeUpNode,
) -> None:
    left.lan(made_up)
    left.thick(made_up)
    before = tree(made_up.folder / "net.d")
    done = install(made_up)
    assert done.returncode == 1
    assert "daemon-config.json" in done.stderr and "multus convert" in done.stderr
    assert tree(made_up.folder / "net.d") == before


def test_every_key_of_the_daemons_settings_is_carried_over(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    conf = {
        "namespaceIsolation": True,
        "globalNamespaces": "default",
        "defaultNetworks": ["storage"],
        "systemNamespaces": ["ops"],
        "multusNamespace": "net",
        "readinessindicatorfile": "/run/lan/ready",
        "binDir": "/opt/more/bin",
    }
    daemon = {"metricsPort": 9091, "connectionLimit": 50, "logToStderr": False}
    settings = left.daemon_config(
        made_up, **{**conf, "readinessindicatorfile": "/host/run/lan/ready"}, **daemon
    )
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    well(install(made_up))
    assert {key: plugin(made_up)[key] for key in conf} == conf
    written = json.loads((made_up.folder / "multus" / "daemon.json").read_text())
    assert written == {
        "logLevel": "verbose",
        **daemon,
        "kubeconfig": str(made_up.folder / "own.kubeconfig"),
    }
    uninstall(made_up)
    assert not (made_up.folder / "multus" / "daemon.json").exists()


def test_settings_that_the_daemons_own_file_leaves_out_are_named(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    settings = left.daemon_config(made_up, metricsPort=9091)
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    made_up.write("multus/daemon.json", {"logLevel": "error", "logToStderr": True})
    done = install(made_up)
    assert done.returncode == 1
    assert "metricsPort" in done.stderr
    made_up.write(
        "multus/daemon.json", {"logLevel": "error", "logToStderr": True, "metricsPort": 1}
    )
    said = well(install(made_up))
    assert "logLevel" in said and "metricsPort" in said


def test_the_daemon_gets_the_kubeconfig_of_the_configuration(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    own = made_up.write("multus.json", {"namespaceIsolation": True})
    well(install(made_up, "--settings", str(own)))
    daemon = made_up.folder / "multus" / "daemon.json"
    assert json.loads(daemon.read_text()) == {"kubeconfig": plugin(made_up)["kubeconfig"]}
    uninstall(made_up)
    made_up.write("multus/daemon.json", {"workers": 8})
    assert f"kubeconfig: {daemon} has none" in well(install(made_up, "--settings", str(own)))


def test_what_has_no_equivalent_is_refused_by_name(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    settings = left.daemon_config(made_up, enablePprof=True)
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    before = tree(made_up.folder / "net.d")
    done = install(made_up)
    assert done.returncode == 1
    assert "enablePprof" in done.stderr
    assert tree(made_up.folder / "net.d") == before


@pytest.mark.parametrize("name", left.UNREADABLE)
def test_what_the_daemon_could_not_read_is_refused_by_name(made_up: MadeUpNode, name: str) -> None:
    left.lan(made_up)
    left.thick(made_up)
    settings = left.daemon_config(made_up, **{name: left.UNREADABLE[name]})
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    before = tree(made_up.folder / "net.d", made_up.folder / "multus")
    done = install(made_up)
    assert done.returncode == 1
    assert name in done.stderr
    assert tree(made_up.folder / "net.d", made_up.folder / "multus") == before


def test_a_certificate_that_is_not_enabled_is_not_missed_in_the_daemons_file(
    made_up: MadeUpNode,
) -> None:
    left.lan(made_up)
    left.thick(made_up)
    settings = left.daemon_config(made_up, perNodeCertificate={"enabled": False})
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    made_up.write("multus/daemon.json", {"logLevel": "verbose", "logToStderr": True})
    well(install(made_up))


def test_a_primary_in_a_folder_of_its_own_is_found(made_up: MadeUpNode) -> None:
    """As on OpenShift: the runtime's folder has nothing but Multus' configuration."""
    left.lan(made_up, "../multus-net.d/10-lan.conflist")
    folder = made_up.folder / "multus-net.d"
    settings = left.daemon_config(made_up, multusAutoconfigDir=f"/host{folder}")
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    well(install(made_up))
    assert plugin(made_up)["clusterNetwork"] == str(folder / "10-lan.conflist")


def test_a_folder_that_its_container_has_under_another_name_is_the_nodes(
    made_up: MadeUpNode,
) -> None:
    """As on k3s: the runtime's folder is not /etc/cni/net.d, but the container has it there."""
    left.lan(made_up)
    left.thick(made_up, clusterNetwork="/host/etc/cni/net.d/10-lan.conflist")
    made_up.write("net.d/multus.d/daemon-config.json", left.DAEMON_CONFIG)
    well(install(made_up))
    assert plugin(made_up)["clusterNetwork"] == str(made_up.folder / "net.d" / "10-lan.conflist")


def test_a_file_that_the_old_daemon_writes_again_is_put_away_again(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    path = left.thick(made_up)
    made_up.write("net.d/multus.d/daemon-config.json", left.daemon_config(made_up))
    well(install(made_up))
    left.thick(made_up, namespaceIsolation=True)
    well(install(made_up))
    assert not path.exists()
    assert plugin(made_up)["namespaceIsolation"] is True


def test_a_folder_in_the_installers_settings_gives_its_first_network(made_up: MadeUpNode) -> None:
    left.lan(made_up, "../multus-net.d/10-lan.conflist")
    folder = made_up.folder / "multus-net.d"
    own = made_up.write("multus.json", {"clusterNetwork": str(folder)})
    well(install(made_up, "--settings", str(own)))
    assert plugin(made_up)["clusterNetwork"] == str(folder / "10-lan.conflist")
    assert plugin(made_up)["capabilities"] == {"portMappings": True}


def test_override_network_name_gives_the_name_of_the_default_network(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    settings = left.daemon_config(made_up, overrideNetworkName=True)
    made_up.write("net.d/multus.d/daemon-config.json", settings)
    well(install(made_up))
    assert installed(made_up)["name"] == "cluster-lan"


def test_uninstall_restores_the_thick_plugin_to_the_byte(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    made_up.write("net.d/multus.d/daemon-config.json", left.daemon_config(made_up))
    before = tree(made_up.folder / "net.d", made_up.bin.path)
    well(install(made_up))
    uninstall(made_up)
    assert tree(made_up.folder / "net.d", made_up.bin.path) == before


def test_own_settings_win(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    left.thick(made_up)
    own = made_up.write("multus.json", {"namespaceIsolation": True, "cniVersion": "1.0.0"})
    well(install(made_up, "--settings", str(own)))
    assert plugin(made_up)["namespaceIsolation"] is True
    assert installed(made_up)["cniVersion"] == "1.0.0"


def test_a_key_that_nothing_reads_is_refused(made_up: MadeUpNode) -> None:
    left.lan(made_up)
    own = made_up.write("multus.json", {"namespaceIsolaton": True})
    done = install(made_up, "--settings", str(own))
    assert done.returncode == 1
    assert "namespaceIsolaton" in done.stderr


def test_settings_are_asked_for_after_the_old_daemon_has_removed_its_file(
    made_up: MadeUpNode,
) -> None:
    left.lan(made_up)
    left.thick(made_up).unlink()
    done = install(made_up)
    assert done.returncode == 1
    assert "multus-shim" in done.stderr and "--settings" in done.stderr
    own = made_up.write("multus.json", {"multusNamespace": "net"})
    well(install(made_up, "--settings", str(own)))
    # They stay until others are given.
    well(install(made_up))
    assert plugin(made_up)["multusNamespace"] == "net"
    own = made_up.write("multus.json", {})
    well(install(made_up, "--settings", str(own)))
    assert "multusNamespace" not in plugin(made_up)


# --- Pods -----------------------------------------------------------------------------------------


def test_a_pod_is_attached_after_the_switch(made_up: MadeUpNode, cni_pod: Netns) -> None:
    master = left.lan(made_up, cniVersion="0.3.1")
    left.thin(made_up, master, cniDir=str(made_up.folder / "state"))
    well(install(made_up, kubeconfig=True))
    conf = {**plugin(made_up), "name": installed(made_up)["name"], "cniVersion": "0.3.1"}
    conf["warmSeconds"] = 0
    del conf["kubeconfig"]
    runtime = Runtime((os.path.join(made_up.bin.path, "multus"),), made_up.bin.path, made_up.host)
    container = Container(cni_pod.path)
    result = runtime.add(conf, container).result
    assert cni_pod.addresses("eth0") == [result["ips"][0]["address"]]
    runtime.delete(conf, container).require()
    assert cni_pod.links() == {}
