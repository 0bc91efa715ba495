"""What an ADD took from files of the node, written down for its DEL.

The flat file, and the kubeconfig that names the namespace, may be another one, or be broken, when
the container goes: the DEL has to find the pools that the ADD used.  An ADD without such files
writes nothing here, as that of the binary; then the DEL reads the files of its own moment.

``<cniDir>/.whereabouts/<container>:<interface>`` is JSON: ``ipam`` with the flat file's values, and
the ``namespace`` of the objects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api import atomic, regular
from multus.api.errors import CNIError, IOFailure
from multus.api.jsontext import decode_object, encode
from multus.api.reader import Reader
from multus_ipam_whereabouts import flatfile

if TYPE_CHECKING:
    from multus.api.network import Invocation

_FOLDER = ".whereabouts"
_LONGEST = 1 << 20


class Used(NamedTuple):
    """``ipam`` as a whole, and the namespace of the objects; ``of_files``: files have a part."""

    ipam: Mapping[str, Any]
    namespace: str
    of_files: bool

    @classmethod
    def now(cls, own: Reader, root: str) -> Used:
        """As the files are now; *root* is where the node's file system is mounted.

        *own* is the configuration's ``ipam``.  Raises ``InvalidConfig``.
        """
        whole = flatfile.merged(own.raw, root)
        kubernetes = Reader(whole, own.where, own.prefix).inner("kubernetes")
        kubeconfig = kubernetes.text("kubeconfig")
        namespace = flatfile.namespace_of(kubeconfig, root)
        return cls(whole, namespace, whole != own.raw or bool(kubeconfig))


def keep(invocation: Invocation, used: Used) -> None:
    """Write down what an ADD is about to use; raises ``IOFailure``."""
    if not used.of_files:
        return
    path = _path(invocation)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        wire = {"ipam": used.ipam, "namespace": used.namespace}
        # The container's lock excludes other writers; what a killed one has left is replaced.
        atomic.write(path, encode(wire), fsync=True, temporary=f"{path}.new")
    except OSError as error:
        raise IOFailure(
            f"cannot write {path}: {error.strerror}",
            fix="check the disk and the folder's permissions",
        ) from error


def recall(invocation: Invocation) -> Used | None:
    """What the ADD has written down; None when that is nothing, or cannot be read."""
    path = _path(invocation)
    try:
        wire = decode_object(regular.read(path, _LONGEST), path)
        ipam, namespace = wire["ipam"], wire["namespace"]
    except FileNotFoundError:
        return None
    except (OSError, LookupError, CNIError) as error:
        invocation.log.error(f"{path} cannot be read: the files of now are used", error=error)
        return None
    fits = isinstance(ipam, Mapping) and isinstance(namespace, str)
    return Used(ipam, namespace, of_files=True) if fits else None


def forget(invocation: Invocation) -> None:
    """Remove it, when the DEL has succeeded, and what a killed ADD has left of it."""
    path = _path(invocation)
    for each in (path, f"{path}.new"):
        with suppress(OSError):
            os.unlink(each)


def _path(invocation: Invocation) -> str:
    name = f"{invocation.request.container_id}:{invocation.ifname}"
    return os.path.join(invocation.conf.cni_dir, _FOLDER, name)
