"""Converts Network objects and annotations to NetworkAttachmentDefinitions, and back.

What only one form can express is reported, and written as a comment. The two annotations mean
different things: Network objects replace the node's default networks and the first one is the
primary; NPWG's networks follow the defaults. So the first one becomes the pod's default network,
and the others keep their interface names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.kubernetes import json_list, short_form
from multus.api.kubernetes.networks import FIRST, SEED, SPRING, config_of
from multus.cli.objects import Named

NAD, NETWORK = "nad", "network"
_NAD_VERSION, _NAD_KIND = "k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition"
_NETWORK_VERSION = f"{SEED.group}/v1"
_NPWG, _DEFAULT = "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"
_OLD = (SEED.annotation, SPRING.annotation)
#: Records what a conversion added, so that converting back restores the original.
ORIGIN = "multus.io/converted-from"
#: The version that other programs assume when ``cniVersion`` is missing.
_CNI_VERSION = "0.3.1"
_KNOWN = {"apiVersion", "kind", "metadata", "plugin", "args", "spec"}
_SERVER = ("managedFields", "resourceVersion", "uid", "selfLink", "generation", "clusterName")


class Literal(str):
    """Multi-line text that is written as a block."""

    __slots__ = ()


@frozen
class Converted:
    """A converted object, what its new form cannot express, and what it says in another way."""

    wire: dict[str, Any]
    unsaid: tuple[str, ...] = ()
    changed: bool = True
    notes: tuple[str, ...] = ()


@frozen
class Conversion:
    """The direction; ``always_use_default`` is that key of the nodes' configuration."""

    to: str
    always_use_default: bool = False

    def of(self, named: Named) -> Converted:
        """Convert one object; kinds without networks stay unchanged.

        Raises ``InvalidConfig`` for an invalid object.
        """
        if self.to == NAD and named.kind == "Network":
            return _network_to_nad(named)
        if self.to == NETWORK and named.kind == _NAD_KIND:
            return _nad_to_network(named)
        if named.kind == "Pod":
            return self._pod(named)
        return Converted(named.wire, changed=False)

    def _pod(self, named: Named) -> Converted:
        metadata = _mapping(named.wire.get("metadata"))
        annotations = _mapping(metadata.get("annotations"))
        present = _OLD if self.to == NAD else (_NPWG, _DEFAULT)
        if not any(key in annotations for key in present):
            return Converted(named.wire, changed=False)
        if self.to == NAD:
            changed, unsaid = self._to_npwg(named, annotations)
        else:
            changed, unsaid = self._to_old(named, annotations)
        wire = {**named.wire, "metadata": {**metadata, "annotations": changed}}
        return Converted(wire, tuple(unsaid))

    def _to_npwg(
        self, named: Named, annotations: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        kept = {key: value for key, value in annotations.items() if key not in _OLD}
        unsaid = []
        if _NPWG in annotations or len([key for key in _OLD if key in annotations]) > 1:
            unsaid.append(f"{named} has two annotations that select networks: remove one")
            return dict(annotations), unsaid
        key = next(key for key in _OLD if key in annotations)
        entries = _entries(str(annotations[key]), f"annotation {key!r} of {named}")
        names = list(entries)
        if not self.always_use_default and entries:
            first = names.pop(0)
            kept[_DEFAULT] = _short(first, named.namespace)
            if first.get("interface"):
                unsaid.append(
                    f"{named}: its first network requests interface {first['interface']!r}, but the"
                    " runtime names the primary's interface"
                )
        selected = [
            {**each, "interface": each.get("interface") or f"net{index}"}
            for index, each in enumerate(names)
        ]
        if selected:
            kept[_NPWG] = Literal(json.dumps(selected, indent=2))
        return kept, unsaid

    def _to_old(
        self, named: Named, annotations: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        kept = {key: value for key, value in annotations.items() if key not in (_NPWG, _DEFAULT)}
        unsaid = []
        entries = []
        if _DEFAULT in annotations:
            origin = f"annotation {_DEFAULT!r} of {named}"
            entries += _entries(str(annotations[_DEFAULT]), origin)
        elif not self.always_use_default:
            unsaid.append(
                f"{named} also gets the node's default network: that needs 'always_use_default' in"
                " the nodes' configuration (set it, then convert with --always-use-default)"
            )
        if _NPWG in annotations:
            entries += _entries(str(annotations[_NPWG]), f"annotation {_NPWG!r} of {named}")
        first = 0 if self.always_use_default else 1
        written = []
        for index, each in enumerate(entries):
            lost = sorted(each.keys() - {"name", "namespace", "interface"})
            if lost:
                unsaid.append(f"{named}: {each.get('name')}: a Network cannot have {lost}")
            entry = {k: each[k] for k in ("name", "namespace", "interface") if each.get(k)}
            if entry.get("namespace") == named.namespace:
                del entry["namespace"]
            if index >= first:
                # By default, the others were named by their position: net1, net2, …
                entry.setdefault("interface", f"net{index - first + 1}")
            if entry.get("interface") == f"net{index - first}":
                del entry["interface"]
            written.append(entry)
        kept[SEED.annotation] = Literal(json.dumps(written, indent=2))
        return kept, unsaid


# --- Networks -------------------------------------------------------------------------------------


def _network_to_nad(named: Named) -> Converted:
    config = config_of(named.wire, str(named))
    origin = str(named.wire.get("apiVersion", _NETWORK_VERSION))
    if "cniVersion" not in config and "cniVersions" not in config:
        config = {"cniVersion": _CNI_VERSION, **config}
        origin += "; added cniVersion"
    metadata = _metadata(named, {ORIGIN: origin})
    unsaid = [
        f"{named}: key {key!r} does not exist in a {_NAD_KIND}: {json.dumps(named.wire[key])}"
        for key in sorted(named.wire.keys() - _KNOWN)
    ]
    wire = {
        "apiVersion": _NAD_VERSION,
        "kind": _NAD_KIND,
        "metadata": metadata,
        "spec": {"config": Literal(json.dumps(config, indent=2))},
    }
    return Converted(wire, tuple(unsaid))


def _nad_to_network(named: Named) -> Converted:
    spec = _mapping(named.wire.get("spec"))
    if not spec.get("config"):
        return _stays(named, "its configuration is in a file on the nodes")
    try:
        (config,) = json_list(f"[{spec['config']}]", "'spec.config'")
    except CNIError as error:
        raise error.at(str(named)) from error
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        return _stays(named, "it is a list of plugins, but a Network has one plugin")
    plugin = config["type"]
    metadata = _metadata(named, {})
    annotations = _mapping(metadata.get("annotations"))
    version, _, added = str(annotations.pop(ORIGIN, "")).partition("; added ")
    args = {key: value for key, value in config.items() if key not in ("type", added)}
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    wire = {
        "apiVersion": version if version.partition("/")[0] in _groups() else _NETWORK_VERSION,
        "kind": "Network",
        "metadata": metadata,
        "plugin": plugin,
        "args": Literal(json.dumps([args], indent=2)),
    }
    return Converted(wire)


def _stays(named: Named, why: str) -> Converted:
    return Converted(named.wire, (f"{named} was not converted: {why}",), changed=False)


def _groups() -> set[str]:
    return {each.group for each in (FIRST, SEED, SPRING)}


def _metadata(named: Named, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Without the keys that the API server sets itself."""
    metadata = {k: v for k, v in _mapping(named.wire.get("metadata")).items() if k not in _SERVER}
    metadata.pop("creationTimestamp", None)
    metadata.pop("deletionTimestamp", None)
    metadata.pop("deletionGracePeriodSeconds", None)
    together = {**_mapping(metadata.get("annotations")), **annotations}
    together.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    if together:
        metadata["annotations"] = together
    return metadata


# --- Annotations ----------------------------------------------------------------------------------


def _entries(text: str, origin: str) -> list[dict[str, Any]]:
    """An annotation's entries in the long form; raises ``InvalidConfig``."""
    if not text.lstrip().startswith(("[", "{")):
        return [
            dict(short_form(part, f"{origin}, entry {number}"))
            for number, part in enumerate(text.split(","), 1)
        ]
    entries = []
    for each in json_list(text, origin):
        entry = dict(each) if isinstance(each, dict) else {"name": each}
        if "interfaceRequest" in entry:
            entry.setdefault("interface", entry.pop("interfaceRequest"))
        entries.append(entry)
    return entries


def _short(entry: Mapping[str, Any], namespace: str) -> str:
    """An entry for ``v1.multus-cni.io/default-network``: with its namespace."""
    return f"{entry.get('namespace') or namespace}/{entry.get('name')}"


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


__all__ = ["NAD", "NETWORK", "Conversion", "Converted", "Literal"]
