"""Network objects, the predecessor of NetworkAttachmentDefinitions.

A Network has ``plugin``, a CNI plugin's name, and ``args``, a string that holds a JSON list of one
object: the plugin's configuration.  Networks exist in three API groups, and pods choose them by two
annotations; each combination in use is a dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.api.errors import DecodingFailure, InvalidConfig
from multus.api.jsontext import decode
from multus.api.keys import NETWORK_SPELLING
from multus.api.kubernetes._annotations import config_in
from multus.api.kubernetes._objects import ObjectRef, Resource
from multus.api.reader import Reader, describe
from multus.api.spelling import spelled
from multus.api.where import Path


@frozen
class Dialect:
    """The API group of Networks, and the annotation by which a pod chooses them.

    ``namespace`` is the namespace of all Networks, "" for the pod's own.  With ``comma``, the
    annotation may also be ``ns/name@if,…``.
    """

    group: str
    annotation: str
    namespace: str = ""
    comma: bool = False

    @property
    def resource(self) -> Resource:
        """The kind of object."""
        title = "{noun} {namespace}/{name} ({group})"
        return Resource(self.group, "v1", "networks", "network", title)

    def wanted(self, namespace: str, name: str) -> ObjectRef:
        """The object to read for a Network that a pod of *namespace* chose."""
        return self.resource.object(self.namespace or namespace, name)


FIRST = Dialect("kubernetes.com", "networks", namespace="default")
SEED = Dialect("kubernetes-network.cni.cncf.io", "networks")
SPRING = Dialect("kubernetes.cni.cncf.io", "kubernetes.v1.cni.cncf.io/networks", comma=True)

#: Every dialect by its group, in look-up order.
DIALECTS = {dialect.group: dialect for dialect in (FIRST, SEED, SPRING)}


def config_of(wire: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The plugin's configuration in a Network object; *where* names the object in errors."""
    reader = Reader(wire, where)
    spec = reader.inner("spec")
    if spec.raw.get("config"):
        # The CRD of spring 2018 had the whole configuration in spec.
        return config_in(spec)
    if "plugin" not in wire and spec.raw:
        reader = spec
    plugin, args = reader.text("plugin"), reader.text("args")
    if not plugin:
        raise InvalidConfig(f"{where} has no 'plugin'", fix="write the name of the CNI plugin")
    config = _only_object(args, reader) if args.strip() else {}
    kind = config.get("type", plugin)
    if kind != plugin:
        raise reader.error(
            "plugin", f"is {plugin!r}, and 'type' in 'args' is {kind!r}", "keep 'plugin'"
        )
    return {"type": plugin, **config}


def holder_of(wire: Mapping[str, Any]) -> Path:
    """The path of the string that holds the configuration."""
    spec = wire.get("spec")
    if isinstance(spec, Mapping) and spec.get("config"):
        return ("spec", "config")
    return ("spec", "args") if "plugin" not in wire and spec else ("args",)


def _only_object(args: str, reader: Reader) -> dict[str, Any]:
    """``args`` holds a list of exactly one object."""
    form = "write '[{…}]', a list of one object"
    try:
        listed = decode(args.encode("utf-8", "surrogatepass"), "it")
    except DecodingFailure as error:
        raise reader.error("args", error.wrong, form) from error
    if not isinstance(listed, list):
        raise reader.error("args", f"holds {describe(listed)}", form)
    if len(listed) != 1:
        raise reader.error("args", f"holds a list of {len(listed)}", form)
    if not isinstance(listed[0], dict):
        raise reader.error("args", f"holds a list of {describe(listed[0])}", form)
    return dict(spelled(listed[0], NETWORK_SPELLING))
