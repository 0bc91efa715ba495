"""The URL paths of objects and lists."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from multus.api.kubernetes._objects import ObjectRef, Resource


@lru_cache(maxsize=4096)
def path_of(wanted: ObjectRef) -> str:
    """The URL path of an object; each part is escaped, so that no name leads to another place."""
    # Bytes of CNI_ARGS that are not UTF-8, and halves of surrogate pairs, name no object either.
    name = quote(wanted.name, safe="", errors="surrogatepass")
    return f"{list_path(wanted.resource, wanted.namespace)}/{name}"


@lru_cache(maxsize=4096)
def list_path(resource: Resource, namespace: str = "") -> str:
    """The URL path of all objects of a kind, in one namespace or in all."""
    root = ("apis", resource.group) if resource.group else ("api",)
    where = ("namespaces", namespace) if namespace else ()
    parts = (*root, resource.version, *where, resource.plural)
    return "".join(f"/{quote(each, safe='', errors='surrogatepass')}" for each in parts)
