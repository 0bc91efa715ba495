"""What certificate a node wants, and the files in which it is kept."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api import atomic
from multus.api.errors import InvalidConfig, IOFailure

if TYPE_CHECKING:
    from multus.kube.kubeconfig import Cluster

#: The API server signs nothing for a shorter time, in seconds.
SHORTEST = 600
_LONGEST = 365 * 24 * 3600
_NAME = "multus-client"
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@frozen
class Wanted:
    """A certificate of *node* for *seconds*, kept in *folder*.

    *bootstrap* is the kubeconfig by whose credentials the first one is requested.
    """

    node: str
    bootstrap: str
    folder: str
    seconds: int

    @property
    def user(self) -> str:
        """The name that the certificate proves."""
        return f"system:multus:{self.node}"

    @property
    def kubeconfig(self) -> str:
        """The kubeconfig that uses the certificate."""
        return os.path.join(self.folder, f"{_NAME}.kubeconfig")

    @property
    def current(self) -> str:
        """The certificate with its key in use, PEM: a link to the newest file."""
        return os.path.join(self.folder, f"{_NAME}-current.pem")

    def prepare(self) -> None:
        """Write the kubeconfig: the bootstrap's server, and the certificate in place of its user.

        The certificate need not exist.  Raises ``InvalidConfig`` and ``IOFailure``.
        """
        from multus.kube.kubeconfig import load_kubeconfig

        if importlib.util.find_spec("cryptography") is None:
            raise InvalidConfig(
                "'perNodeCertificate' needs the library cryptography",
                fix="pip install 'multus[certificate]'",
            )
        wire = _kubeconfig(load_kubeconfig(self.bootstrap).cluster, self.current)
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            atomic.write(self.kubeconfig, json.dumps(wire, indent=2).encode(), fsync=True)
        except OSError as error:
            raise IOFailure(f"cannot write {self.kubeconfig}: {error.strerror}") from error

    def store(self, pem: bytes, stamp: str) -> None:
        """Keep a certificate with its key; *stamp* tells it from earlier ones, which are removed.

        Raises ``OSError``.
        """
        name = f"{_NAME}-{stamp}.pem"
        atomic.write(os.path.join(self.folder, name), pem, fsync=True)
        link = f"{self.current}.new"
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(name, link)
        os.replace(link, self.current)
        kept = re.compile(rf"{_NAME}-\d[\d-]*\.pem").fullmatch
        for old in sorted(filter(kept, os.listdir(self.folder))):
            if old != name:
                os.unlink(os.path.join(self.folder, old))


def seconds_of(text: str) -> float:
    """A duration such as ``24h`` or ``1h30m``, as Go writes it; raises ``ValueError``."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration_problem(text: str) -> str:
    """Why *text* cannot be a certificate's duration; empty when it can."""
    try:
        seconds = seconds_of(text)
    except ValueError:
        return f"is {text!r}, not a duration"
    return "" if SHORTEST <= seconds <= _LONGEST else f"is {text}, not 10m to 8760h"


def _kubeconfig(cluster: Cluster, current: str) -> Mapping[str, Any]:
    authority = cluster.authority
    section: dict[str, Any] = {
        "server": cluster.server,
        "certificate-authority-data": base64.b64encode(authority.data).decode(),
        "certificate-authority": "" if authority.data else authority.path,
        "insecure-skip-tls-verify": cluster.insecure,
        "tls-server-name": cluster.tls_server_name,
        "proxy-url": cluster.proxy_url,
    }
    user = {"client-certificate": current, "client-key": current}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": {k: v for k, v in section.items() if v}}],
        "users": [{"name": "node", "user": user}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": "node"}}],
        "current-context": "node",
    }
