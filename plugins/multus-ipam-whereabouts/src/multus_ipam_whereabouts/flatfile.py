"""The node's own files: the flat file with defaults, and the kubeconfig that names the namespace.

Source: whereabouts 0.9, ``doc/extended-configuration.md``: keys of ``ipam`` that a configuration
leaves out are taken from the flat file, and the objects are in the namespace of the kubeconfig's
current context.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from multus.api import regular
from multus.api.errors import InvalidConfig

#: Where the flat file is looked for, after ``configuration_path``.
PLACES = (
    "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
    "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    "/host/etc/cni/net.d/whereabouts.d/whereabouts.conf",
)
#: Where the binary keeps its objects when no kubeconfig says otherwise.
NAMESPACE = "kube-system"

_LONGEST = 1 << 20
#: The flat file does not say whether ranges overlap: the binary takes that from ``ipam`` alone.
_OF_IPAM_ALONE = frozenset({"type", "enable_overlapping_ranges"})

#: What files held when they were read last, by path: the inode, the time and the size, the value.
_read: dict[str, tuple[tuple[int, int, int], Any]] = {}


def merged(ipam: Mapping[str, Any], root: str) -> dict[str, Any]:
    """*ipam* with the flat file's values for what it leaves out.

    *root* is where the node's file system is mounted.  Raises ``InvalidConfig`` for a file that is
    not a JSON object.
    """
    named = ipam.get("configuration_path")
    places = (named, *PLACES) if isinstance(named, str) and named else PLACES
    for place in places:
        found = _json(f"{root}{place}")
        if found is not None:
            break
    else:
        return dict(ipam)
    given = {key: value for key, value in ipam.items() if value or key in _OF_IPAM_ALONE}
    defaults = {key: value for key, value in found.items() if key not in _OF_IPAM_ALONE}
    both = {**defaults, **given}
    inner = [each.get("kubernetes") for each in (defaults, given)]
    if all(isinstance(each, Mapping) for each in inner):
        both["kubernetes"] = {**inner[0], **inner[1]}  # type: ignore[dict-item]
    return both


def namespace_of(kubeconfig: str, root: str) -> str:
    """The namespace of the current context; ``kube-system`` without one, or without the file."""
    found = _loaded(f"{root}{kubeconfig}", _yaml) if kubeconfig else None
    if not isinstance(found, Mapping):
        return NAMESPACE
    contexts = found.get("contexts")
    for each in contexts if isinstance(contexts, list) else ():
        if isinstance(each, Mapping) and each.get("name") == found.get("current-context"):
            context = each.get("context")
            namespace = context.get("namespace") if isinstance(context, Mapping) else None
            return namespace if isinstance(namespace, str) and namespace else NAMESPACE
    return NAMESPACE


def _json(path: str) -> Mapping[str, Any] | None:
    found = _loaded(path, json.loads)
    if found is not None and not isinstance(found, Mapping):
        raise InvalidConfig(f"{path} is not a JSON object", fix="correct it, or remove the file")
    return found


def _yaml(data: bytes) -> Any:
    # Importing it takes longer than the rest of a call: it is for a file that is there.
    import yaml

    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        # Its own words would show a line of the file, which has secrets.
        raise ValueError("it is not YAML") from error


def _loaded(path: str, load: Any) -> Any:
    """The value of a file; None when it does not exist.  An unchanged one is not read again."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise InvalidConfig(f"{path!r} is no path of a file", fix="correct it") from error
    stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
    known = _read.get(path)
    if known is None or known[0] != stamp:
        try:
            value = load(regular.read(path, _LONGEST, follow=True))
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidConfig(
                f"{path} cannot be read: {error}", fix="correct the file"
            ) from error
        if len(_read) > 16:
            _read.clear()
        known = _read[path] = stamp, value
    return known[1]
