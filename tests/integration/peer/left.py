"""What the Go Multus' DaemonSets leave on a node: the files as its entrypoints write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integration.cli.conftest import MadeUpNode

KUBECONFIG = """\
# Kubeconfig file for Multus CNI plugin.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: https://[10.96.0.1]:443
    certificate-authority-data: LS0t
users:
- name: multus
  user:
    token: "its-token"
contexts:
- name: multus-context
  context:
    cluster: local
    user: multus
current-context: multus-context
"""
LAN: Mapping[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "cluster-lan",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "br-lan",
            "isGateway": True,
            "capabilities": {"portMappings": True},
            "ipam": {"type": "host-local", "subnet": "10.78.0.0/24"},
        }
    ],
}
DAEMON_CONFIG: Mapping[str, Any] = {
    "chrootDir": "/hostroot",
    "cniVersion": "0.3.1",
    "logLevel": "verbose",
    "logToStderr": True,
    "cniConfigDir": "/host/etc/cni/net.d",
    "multusAutoconfigDir": "/host/etc/cni/net.d",
    "multusConfigFile": "auto",
    "socketDir": "/host/run/multus/",
}
#: Settings of the daemon that the Go Multus takes, and this one's daemon does not start with.
UNREADABLE: Mapping[str, Any] = {
    "connectionLimit": 0,
    "metricsPort": -1,
    "logLevel": 5,
    "perNodeCertificate": {
        "enabled": True,
        "bootstrapKubeconfig": "/b",
        "certDir": "/c",
        "certDuration": "5m",
    },
}


def lan(made_up: MadeUpNode, file: str = "10-lan.conflist", **keys: Any) -> dict[str, Any]:
    """The cluster's network, with addresses of this test; written, and returned."""
    whole: dict[str, Any] = json.loads(json.dumps({**LAN, **keys}))
    whole["plugins"][0]["ipam"]["dataDir"] = str(made_up.folder / "networks")
    made_up.write(f"net.d/{file}", whole)
    return whole


def thin(made_up: MadeUpNode, master: Mapping[str, Any], **keys: Any) -> Path:
    """The files of the thin entrypoint; *keys* are those that its options add."""
    made_up.write("net.d/multus.d/multus.kubeconfig", KUBECONFIG)
    made_up.bin.file("multus", b"#!/bin/sh\n# the Go program\n", 0o755)
    made_up.bin.file("passthru", b"#!/bin/sh\n", 0o755)
    plugin = {
        "type": "multus",
        "capabilities": {"portMappings": True},
        "cniConf": "/host/etc/cni/multus/net.d",
        **keys,
        "kubeconfig": keys.get("kubeconfig", "/etc/cni/net.d/multus.d/multus.kubeconfig"),
        "delegates": [master],
    }
    listed = {"cniVersion": master["cniVersion"], "name": "multus-cni-network"}
    if master["cniVersion"] < "1.0.0":
        return made_up.write("net.d/00-multus.conf", _text({**listed, **plugin}))
    return made_up.write("net.d/00-multus.conflist", _text({**listed, "plugins": [plugin]}))


def thick(made_up: MadeUpNode, *, primary: str = "10-lan.conflist", **keys: Any) -> Path:
    """The file of the thick daemon, in one line; *keys* are those of its daemon-config.json."""
    made_up.bin.file("multus-shim", b"#!/bin/sh\n# the Go shim\n", 0o755)
    made_up.bin.file("passthru", b"#!/bin/sh\n", 0o755)
    conf = {
        "capabilities": {"portMappings": True},
        "cniVersion": "0.3.1",
        "logLevel": "verbose",
        "logToStderr": True,
        "name": "multus-cni-network",
        "clusterNetwork": f"/host{made_up.folder}/net.d/{primary}",
        "type": "multus-shim",
        **keys,
    }
    return made_up.write("net.d/00-multus.conf", json.dumps(conf, separators=(",", ":")))


def daemon_config(made_up: MadeUpNode, **keys: Any) -> dict[str, Any]:
    """The daemon's settings, for this node's folder; ``None`` leaves a key out."""
    net_d = f"/host{made_up.folder}/net.d"
    whole = {**DAEMON_CONFIG, "cniConfigDir": net_d, "multusAutoconfigDir": net_d, **keys}
    return {key: value for key, value in whole.items() if value is not None}


def _text(value: Any) -> str:
    return json.dumps(value, indent=4) + "\n"
