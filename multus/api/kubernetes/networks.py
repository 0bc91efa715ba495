"""Network objects: what pods chose their networks from before NetworkAttachmentDefinitions.

A Network has ``plugin``, a CNI plugin's name, and ``args``, a string that holds a JSON list of one
object: the plugin's configuration.  The same object was served under three API groups, and chosen
by two annotations; each combination is a dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.api.errors import DecodingFailure, InvalidConfig
from multus.api.jsontext import decode, decode_object
from multus.api.kubernetes._objects import ObjectRef, Resource
from multus.api.reader import Reader, describe


@frozen
class Dialect:
    """Where Networks are read, and which annotation of a pod chooses them.

    ``namespace`` is where all Networks live, "" for the pod's own.  ``comma`` says that the
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

#: Every dialect by its group, in the order in which they are looked up.
DIALECTS = {dialect.group: dialect for dialect in (FIRST, SEED, SPRING)}


def config_of(wire: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The plugin's configuration that a Network object describes; errors name the object."""
    reader = Reader(wire, where)
    spec = reader.mapping("spec")
    if spec.get("config"):
        # The CRD of spring 2018 had the whole configuration in spec.
        return _decoded(Reader(spec, where).text("config"), f"{where}: 'spec.config'")
    if "plugin" not in wire and spec:
        reader = Reader(spec, where)
    plugin, args = reader.text("plugin"), reader.text("args")
    if not plugin:
        raise InvalidConfig(f"{where} has no 'plugin': write the name of the CNI plugin")
    config = _only_object(args, where) if args.strip() else {}
    kind = config.get("type", plugin)
    if kind != plugin:
        raise InvalidConfig(
            f"{where}: 'plugin' is {plugin!r}, and 'type' in 'args' is {kind!r}: keep 'plugin'"
        )
    return {"type": plugin, **config}


def _only_object(args: str, where: str) -> dict[str, Any]:
    """``args`` holds a list of exactly one object."""
    form = "write '[{…}]', a list of one object"
    try:
        listed = decode(args.encode("utf-8", "surrogatepass"), f"{where}: 'args'")
    except DecodingFailure as error:
        raise InvalidConfig(f"{error.msg}: {form}") from error
    if not isinstance(listed, list):
        raise InvalidConfig(f"{where}: 'args' holds {describe(listed)}: {form}")
    if len(listed) != 1:
        raise InvalidConfig(f"{where}: 'args' holds a list of {len(listed)}: {form}")
    if not isinstance(listed[0], dict):
        raise InvalidConfig(f"{where}: 'args' holds a list of {describe(listed[0])}: {form}")
    return listed[0]


def _decoded(text: str, what: str) -> dict[str, Any]:
    try:
        return decode_object(text.encode("utf-8", "surrogatepass"), what)
    except DecodingFailure as error:
        raise InvalidConfig(error.msg) from error
