"""Converts the Go Multus' ``daemon-config.json`` to the settings of this Multus' DaemonSet.

The result is the ConfigMap that the DaemonSet reads: ``daemon.json`` is the daemon's file,
``multus.json`` has the keys that ``multus install --settings`` writes into the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.jsontext import decode_object
from multus.api.where import sentence
from multus.cli.commands.convert.converting import Converted, Literal
from multus.cli.commands.install.account import NAME as KUBECONFIG
from multus.cli.commands.install.files import FOLDER
from multus.cli.commands.install.older import DAEMON_CONFIG, carrying
from multus.cli.node import NET_D
from multus.cli.upstream import known
from multus.daemon.settings import problems

if TYPE_CHECKING:
    from multus.registry.loading import Installed

#: The ConfigMap of ``deploy``, and its files.
NAME, NAMESPACE = "multus-python", "kube-system"
DAEMON, CONFIGURATION = "daemon.json", "multus.json"


def settings_in(value: Any) -> Mapping[str, Any] | None:
    """The decoded ``daemon-config.json`` in *value*: the object itself, or a ConfigMap with it.

    Raises ``DecodingFailure`` for a ConfigMap whose file is not JSON.
    """
    if not isinstance(value, dict):
        return None
    if value.get("kind") == "ConfigMap":
        data = value.get("data")
        text = data.get(DAEMON_CONFIG) if isinstance(data, dict) else None
        return None if text is None else decode_object(str(text).encode(), DAEMON_CONFIG)
    if (
        value.keys() & {"kind", "type", "plugins"}
        or not known.canonical(value).keys() & known.OF_DAEMON
    ):
        return None
    return value


def convert(
    value: Mapping[str, Any], settings: Mapping[str, Any], installed: Installed
) -> Converted:
    """The ConfigMap for *settings*, which were found in *value*."""
    carried = carrying(installed, in_pod=True).of(settings, in_container=True)
    daemon = {"cniDir": "/var/lib/cni/multus", "kubeconfig": f"{NET_D}/{FOLDER}/{KUBECONFIG}"}
    metadata = value.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    wrong = problems({**daemon, **carried.daemon})
    left_out = {each.path[0] for each in wrong}
    conf = {name: value for name, value in carried.conf.items() if name not in left_out}
    daemon |= {name: value for name, value in carried.daemon.items() if name not in left_out}
    if carried.primary and carried.primary != NET_D:
        conf.setdefault("clusterNetwork", carried.primary)
    wire = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": str(namespace or NAMESPACE)},
        "data": {
            DAEMON: _text(daemon),
            CONFIGURATION: _text(conf),
        },
    }
    refused = [f"{each.path[0]} {each.reason}" for each in carried.refused]
    refused += [sentence("", each.path, each.reason, each.fix) for each in wrong]
    if carried.net_d not in ("", NET_D):
        refused.append(f"cniConfigDir is {carried.net_d}: set the same folder for the DaemonSet")
    return Converted(wire, tuple(refused), notes=carried.notes)


def _text(value: Mapping[str, Any]) -> Literal:
    return Literal(json.dumps(value, indent=2) + "\n")
