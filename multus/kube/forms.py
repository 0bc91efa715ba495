"""The forms in which the API server is asked for objects, as headers of a request.

A server that does not know a form sends whole objects.
"""

from __future__ import annotations

#: Only ``metadata`` of an object leaves the server.
METADATA = {
    "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
}
METADATA_LIST = {
    "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
}
#: The rows that ``kubectl get`` shows: columns, and each object's ``metadata``.
TABLE = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1, application/json"}
