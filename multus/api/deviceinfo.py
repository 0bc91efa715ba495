"""Device information files: what is known of a network's device, as JSON on the node.

A device plugin describes each of its devices in a file.  Before a network is attached, Multus
copies the description into a file of this attachment, whose path plugins get by the capability
``CNIDeviceInfoFile``.  They may read it, change it, or write one of their own.  The status of the
pod has what is in it after the attachment.

Source: NPWG Device Information Specification 1.1.0, sections 4 to 6.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from multus.api import atomic, regular
from multus.api.errors import CNIError
from multus.api.jsontext import decode_object, encode

#: The folder of both kinds of file; device plugins and CNI plugins know it.
FOLDER = "/var/run/k8s.cni.cncf.io/devinfo"
#: The capability by which a plugin gets the path of its attachment's file.
CAPABILITY = "CNIDeviceInfoFile"

#: The largest description, in bytes of JSON; real ones have some hundred.
_LARGEST = 64 * 1024
#: ``NAME_MAX``: the longest name of a file, in bytes.
_LONGEST_NAME = 255
#: What the name of a file has beside, while it is written.
_UNFINISHED = ".new"

#: The keys of a description that are texts, and those of the objects in it (section 3.1).
_TEXTS = ("type", "version")
_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "pci": ("pci-address", "vhost-net", "rdma-device", "pf-pci-address", "representor-device"),
    "vdpa": (
        "parent-device",
        "driver",
        "path",
        "pci-address",
        "pf-pci-address",
        "representor-device",
    ),
    "vhost-user": ("mode", "path"),
    "memif": ("role", "path", "mode"),
}


def of_device_plugin(resource: str, device: str) -> str:
    """The path of a device plugin's file; "" when there cannot be one."""
    name = f"{resource}-{device}-device.json".replace("/", "-")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a half of a pair of UTF-16, which JSON can write
        return ""
    usable = resource and device and "\0" not in name and length <= _LONGEST_NAME
    return os.path.join(FOLDER, "dp", name) if usable else ""


def of_attachment(network: str, container_id: str, ifname: str) -> str:
    """The path of an attachment's file, unique by container and interface.

    *network* is the name for people, "default/a".
    """
    name = f"{network}-{container_id}_{ifname}".replace("/", "-")
    if len(_encoded(name)) > _LONGEST_NAME:
        from hashlib import sha256

        name = sha256(_encoded(name)).hexdigest()
    return os.path.join(FOLDER, "cni", name)


def read(path: str) -> dict[str, Any] | None:
    """The description in a file; None when there is none, or one of another form.

    Only the specification's keys are returned: programs read the status by them.
    """
    if not path:
        return None
    try:
        found = decode_object(regular.read(path, _LARGEST + 1, follow=True), path)
    except (OSError, CNIError):
        return None
    known = _texts(found, _TEXTS)
    for key, inner in _OBJECTS.items():
        value = found.get(key)
        if known is None or (value is not None and not isinstance(value, dict)):
            return None
        part = None if value is None else _texts(value, inner)
        if value is not None and part is None:
            return None
        known |= {key: part} if part is not None else {}
    return known or None


def copy(resource: str, device: str, path: str) -> None:
    """Copy a device plugin's description to *path*, when there is one; raises ``OSError``.

    A file that is there already is replaced: it is what a killed ADD left.
    """
    remove(path)
    known = read(of_device_plugin(resource, device))
    if known is None:
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    # The container's lock excludes another writer, so that `remove` finds what a killed one left.
    atomic.write(path, encode(known), 0o644, fsync=False, temporary=f"{path}{_UNFINISHED}")


def remove(path: str) -> None:
    """Remove an attachment's file, whole or unfinished, if it exists.  Raises ``OSError``."""
    for each in (path, f"{path}{_UNFINISHED}"):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(each)


def _texts(wire: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Those of *keys* that *wire* has; None when one is not a text."""
    found = {key: wire[key] for key in keys if wire.get(key) is not None}
    return found if all(isinstance(each, str) for each in found.values()) else None


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
