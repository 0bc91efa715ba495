"""Containers that the Go Multus attached: real plugins, and its files in their true form."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from integration.kube.cluster import Cluster
from multus.testing.delegates import real_plugin
from multus.testing.runtime import Container

VERSION = "1.0.0"

#: What a release before 4.3 kept of a plugin in a list: the keys that CNI itself has.
_KEPT_OF_LISTS = ("type", "name", "cniVersion", "capabilities", "ipam", "dns")


@frozen
class Network:
    """A list of plugins for interface *ifname*, with what the pod or the runtime asked of it."""

    name: str
    plugins: Sequence[Mapping[str, Any]]
    ifname: str = "eth0"
    asked: Mapping[str, Any] = field(factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return {"cniVersion": VERSION, "name": self.name, "plugins": list(self.plugins)}


def attach(
    cluster: Cluster,
    container: Container,
    *networks: Network,
    lossy: bool = False,
    cached: bool = True,
) -> Path:
    """Run every plugin's ADD, and write what the Go Multus writes; returns the record's path.

    *lossy* is the record of a release before 4.3; without *cached*, libcni's files are missing.
    """
    folder = Path(cluster.folder, "multus")
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    for each in networks:
        result = _add(cluster, container, each)
        if cached:
            path = results / f"{each.name}-{container.id}-{each.ifname}"
            _write(path, _cache(container, each, result))
    path = folder / container.id
    _write(path, [_entry(each, lossy=lossy) for each in networks])
    return path


def _add(cluster: Cluster, container: Container, network: Network) -> Any:
    result: Any = None
    for plugin in network.plugins:
        declared = plugin.get("capabilities", {})
        asked = {key: value for key, value in network.asked.items() if declared.get(key)}
        config = {key: value for key, value in plugin.items() if key != "capabilities"}
        config |= {"cniVersion": VERSION, "name": network.name}
        config |= {"runtimeConfig": asked} if asked else {}
        config |= {"prevResult": result} if result else {}
        program = real_plugin(plugin["type"])
        assert program is not None
        environ = {**os.environ, **container.environ(), "CNI_COMMAND": "ADD"}
        environ |= {"CNI_IFNAME": network.ifname, "CNI_PATH": cluster.bin.path}
        done = subprocess.run(
            cluster.node.command([program]),
            input=json.dumps(config).encode(),
            env=environ,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        result = json.loads(done.stdout)
    return result


def _cache(container: Container, network: Network, result: Any) -> dict[str, Any]:
    args = [["IgnoreUnknown", "true"], ["K8S_POD_NAME", "web"], ["K8S_POD_UID", ""]]
    return {
        "kind": "cniCacheV1",
        "containerId": container.id,
        "config": b64encode(json.dumps(network.config).encode()).decode(),
        "ifName": network.ifname,
        "networkName": network.name,
        "netns": container.netns,
        "cniArgs": [*args, ["K8S_POD_UID", "1"]],
        **({"capabilityArgs": dict(network.asked)} if network.asked else {}),
        "result": result,
    }


def _entry(network: Network, *, lossy: bool) -> dict[str, Any]:
    kept = [{key: each[key] for key in _KEPT_OF_LISTS if key in each} for each in network.plugins]
    for each in kept:
        each["ipam"] = {"type": each["ipam"]["type"]} if each.get("ipam") else {}
    short = {**network.config, "plugins": kept}
    text = json.dumps(short if lossy else network.config)
    return {
        "Conf": {"cniVersion": VERSION, "ipam": {}, "name": network.name},
        "ConfList": short,
        "Name": network.name,
        **({} if network.ifname.startswith(("eth", "net")) else {"ifnameRequest": network.ifname}),
        "IsFilterV4Gateway": False,
        "IsFilterV6Gateway": False,
        "Bytes": b64encode(text.encode()).decode(),
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
    path.chmod(0o600)
