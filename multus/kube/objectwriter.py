"""Writing whole objects: each write names the version of the object that it replaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.kube.decoding import decode, metadata_of
from multus.kube.forms import METADATA
from multus.kube.urls import list_path, path_of

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._objects import ObjectRef
    from multus.kube.transport import HttpClient

# The answer is as small as the write, whatever the size of the object.
_JSON = {**METADATA, "Content-Type": "application/json"}
_MERGE = {**METADATA, "Content-Type": "application/merge-patch+json"}


class ObjectWriter:
    """Creates, patches and deletes objects of any kind.

    A write that is repeated after a lost answer is refused when it had arrived.
    """

    def __init__(self, transport: HttpClient) -> None:
        self._transport = transport

    def create(self, wanted: ObjectRef, wire: Mapping[str, Any], deadline: Deadline) -> Any:
        """Create the object; returns its ``metadata``."""
        kind = wanted.resource
        path = list_path(kind, wanted.namespace)
        metadata = {**wire.get("metadata", {}), "name": wanted.name}
        if wanted.namespace:
            metadata["namespace"] = wanted.namespace
        whole = {**wire, "metadata": metadata}
        return self._written("POST", path, f"create {wanted}", deadline, _JSON, whole)

    def patch(
        self,
        wanted: ObjectRef,
        patch: Mapping[str, Any],
        version: str,
        deadline: Deadline,
        subresource: str = "",
    ) -> Any:
        """Merge *patch* into the object of this resourceVersion; returns its ``metadata``."""
        path = f"{path_of(wanted)}/{subresource}" if subresource else path_of(wanted)
        metadata = {**patch.get("metadata", {}), "resourceVersion": version}
        whole = {**patch, "metadata": metadata}
        return self._written("PATCH", path, f"patch {wanted}", deadline, _MERGE, whole)

    def delete(self, wanted: ObjectRef, version: str, deadline: Deadline) -> None:
        """Delete the object of this resourceVersion."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"resourceVersion": version},
        }
        self._written("DELETE", path_of(wanted), f"delete {wanted}", deadline, _JSON, options)

    def _written(
        self,
        method: str,
        path: str,
        action: str,
        deadline: Deadline,
        headers: Mapping[str, str],
        wire: Mapping[str, Any],
    ) -> Any:
        body = json.dumps(wire, separators=(",", ":")).encode()
        answer = self._transport.call(method, path, action, deadline, headers=headers, body=body)
        try:
            return metadata_of(decode(answer))
        except ValueError:
            # It was written; what it is now is read when it is needed.
            return {}
